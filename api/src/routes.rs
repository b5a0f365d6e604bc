//! Which path leads where, and the access level that it needs: said once, where the route is made.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use fleet_runtime::auth::AccessLevel::{self, Operator, Po, Viewer};

use crate::server::within_deadline;
use crate::state::{MAX_JSON_BYTES, Shared};
use crate::{access, approvals, auth, blobs, cluster, events, jobs, metrics, node, results};

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
    let open = ["/healthz", "/readyz"].map(|path| Route { path, method: "GET", level: None });
    let mut all: Vec<Route> = quick().listed.into_iter().chain(long().listed).chain(open).collect();
    all.sort_unstable();
    all
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
        .get("/api/v1/approvals", Viewer, approvals::list)
        .post("/api/v1/approvals/{id}", Po, approvals::decide)
        .get("/api/v1/node", Viewer, node::info)
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
    Routes::default().post("/api/v1/blobs", Operator, blobs::put).get(
        "/api/v1/jobs/{id}/events",
        Viewer,
        events::follow,
    )
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

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        least: AccessLevel,
        to: MethodRouter<Shared>,
    ) -> Self {
        self.listed.push(Route { path, method, level: Some(least) });
        // Of this route alone: axum puts a layer around what is there already, which is this one handler.
        let to = to.route_layer(from_fn_with_state(least, auth::require_level));
        self.router = self.router.route(path, to);
        self
    }
}
