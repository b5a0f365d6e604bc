//! Which path leads where, and the access level that it needs: said once, where the route is made.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::header;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, delete, get, post};
use fleet_runtime::auth::AccessLevel::{self, Operator, Po, Viewer};

use crate::server::within_deadline;
use crate::state::{MAX_JSON_BYTES, Shared};
use crate::{
    access, approvals, auth, blobs, cluster, engines, events, explain, jobs, metrics, node, openai, results, timeline,
};

/// What can be asked, and what is answered, for programs: OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// One thing that can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// As axum writes it, with the part before it: `/api/v1/jobs/{id}`.
    pub path: &'static str,
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// What the caller must be; none where no token is needed.
    pub level: Option<AccessLevel>,
}

/// Everything that can be asked, by path and method.
pub fn routes() -> Vec<Route> {
    let open = ["/healthz", "/readyz", "/openapi.json"].map(|path| Route { path, method: "GET", level: None });
    let mut all: Vec<Route> = quick().listed.into_iter().chain(long().listed).chain(open).collect();
    all.sort_unstable();
    all
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}

/// All that needs a token.
pub(crate) fn guarded() -> Router<Shared> {
    let quick = quick().router.layer(DefaultBodyLimit::max(MAX_JSON_BYTES)).layer(from_fn(within_deadline));
    let long = long().router.layer(DefaultBodyLimit::disable());
    quick.merge(long)
}

fn quick() -> Routes {
    Routes::default()
        .get("/metrics", Viewer, metrics::metrics)
        .get("/api/v1/jobs", Viewer, jobs::list)
        .post("/api/v1/jobs", Operator, jobs::submit)
        .get("/api/v1/jobs/{id}", Viewer, jobs::status)
        .delete("/api/v1/jobs/{id}", Operator, jobs::delete)
        .post("/api/v1/jobs/{id}/stop", Operator, jobs::stop)
        .get("/api/v1/jobs/{id}/report", Viewer, results::report)
        .get("/api/v1/jobs/{id}/result", Viewer, results::result)
        .get("/api/v1/jobs/{id}/patches/{attempt}", Viewer, results::patch)
        .get("/api/v1/jobs/{id}/explain", Viewer, explain::explain)
        .get("/api/v1/timeline", Viewer, timeline::timeline)
        .get("/api/v1/approvals", Viewer, approvals::list)
        .post("/api/v1/approvals/{id}", Po, approvals::decide)
        .get("/api/v1/node", Viewer, node::info)
        .get("/api/v1/engines", Viewer, engines::list)
        .post("/api/v1/engines/{name}/drain", Operator, engines::drain)
        .post("/api/v1/engines/{name}/resume", Operator, engines::resume)
        .get("/v1/models", Viewer, openai::list)
        .get("/v1/models/{id}", Viewer, openai::show)
        .get("/api/v1/nodes", Viewer, cluster::nodes)
        .post("/api/v1/nodes/invitations", Po, cluster::invite)
        .get("/api/v1/nodes/{name}", Viewer, cluster::explain_node)
        .post("/api/v1/nodes/{name}/drain", Operator, cluster::drain)
        .get("/api/v1/actors", Viewer, cluster::actors)
        .get("/api/v1/actor", Viewer, cluster::explain_actor)
        .post("/api/v1/actor/stop", Operator, cluster::stop_actor)
        .get("/api/v1/access", Po, access::list)
        .post("/api/v1/access", Po, access::issue)
        .delete("/api/v1/access/{name}", Po, access::revoke)
}

/// Those whose length has no bound of its own.
fn long() -> Routes {
    Routes::default()
        .post("/api/v1/blobs", Operator, blobs::put)
        .get("/api/v1/jobs/{id}/events", Viewer, events::follow)
        .post("/v1/chat/completions", Operator, openai::complete)
        .post("/v1/embeddings", Operator, openai::embed)
}

#[derive(Default)]
struct Routes {
    router: Router<Shared>,
    listed: Vec<Route>,
}

impl Routes {
    fn get<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, least: AccessLevel, to: H) -> Self {
        self.add("GET", path, least, get(to))
    }

    fn post<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, least: AccessLevel, to: H) -> Self {
        self.add("POST", path, least, post(to))
    }

    fn delete<H: Handler<T, Shared>, T: 'static>(self, path: &'static str, least: AccessLevel, to: H) -> Self {
        self.add("DELETE", path, least, delete(to))
    }

    fn add(mut self, method: &'static str, path: &'static str, least: AccessLevel, to: MethodRouter<Shared>) -> Self {
        self.listed.push(Route { path, method, level: Some(least) });
        // Of this route alone: axum puts a layer around what is there already, which is this one handler.
        let to = to.route_layer(from_fn_with_state(least, auth::require_level));
        self.router = self.router.route(path, to);
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(OPENAPI).unwrap()
    }

    fn operations(document: &Value) -> Vec<(String, String, Value)> {
        let paths = document["paths"].as_object().unwrap().iter();
        let each = paths.flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().iter();
            methods.map(move |(method, operation)| (path.clone(), method.to_uppercase(), operation.clone()))
        });
        each.collect()
    }

    #[test]
    fn the_document_has_every_route_with_its_level_and_no_other() {
        let mut written: Vec<_> = operations(&document())
            .into_iter()
            .map(|(path, method, operation)| (path, method, operation["x-access-level"].as_str().map(str::to_owned)))
            .collect();
        written.sort();
        let level = |route: &Route| route.level.map(|level| level.as_str().to_owned());
        let mut made: Vec<_> =
            routes().iter().map(|route| (route.path.to_owned(), route.method.to_owned(), level(route))).collect();
        made.sort();
        assert_eq!(written, made);
    }

    #[test]
    fn what_the_document_refers_to_is_in_it_and_every_name_is_used_once() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, _, operation) in operations(&document) {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let given: BTreeSet<_> =
                parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
            let wanted: BTreeSet<_> = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            assert_eq!(given, wanted, "{path}");
        }
        for reference in OPENAPI.split("\"$ref\": \"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "there is no {pointer}");
        }
    }
}
