#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path as Asked, State};
use axum::http::StatusCode;
use axum::routing::get;

use super::super::catalogue::Catalogue;
use super::super::hub::HubRepo;
use super::super::store::ModelStatus;
use super::*;
use crate::tiny::Hub;

fn store(dir: &Path) -> ModelStore {
    ModelStore::new(dir.join("models"), Catalogue::built_in().unwrap())
}

fn named(name: &str) -> NewModel {
    NewModel { name: name.into(), ..NewModel::default() }
}

#[test]
fn a_folder_becomes_a_model_of_several_files_each_of_which_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, folder) = (store(dir.path()), dir.path().join("mine"));
    let hub = Hub::tiny("llama", "BF16").sharded(2);
    hub.write(&folder);
    std::fs::write(folder.join("README.md"), "not taken").unwrap();
    let (name, path) = store.add(&folder, &named("mine"), &mut |_| {}).unwrap();
    assert_eq!((name.as_str(), path), ("mine", store.dir().join("mine/model.safetensors.index.json")));
    let entry = store.catalogue().get("mine").unwrap().clone();
    assert_eq!(entry.files().len(), 6);
    let path = store.path("mine").unwrap();
    assert!(crate::inspect(&path).unwrap().to_string().starts_with("llama"));
    // What one of its parts has in it counts as much as the index.
    let part = store.dir().join("mine/model-00002-of-00002.safetensors");
    let mut bytes = fs::read(&part).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&part, bytes).unwrap();
    fs::File::options().write(true).open(&part).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(matches!(store.path("mine"), Err(ModelError::WrongHash { .. })));
    // It is mended from where it was.
    let source = Source::parse(folder.to_str().unwrap(), &entry);
    assert_eq!(store.pull("mine", &source, &mut |_| {}).unwrap(), path);
    assert_eq!(
        store.list().into_iter().find(|model| model.entry.name == "mine").unwrap().status,
        ModelStatus::Verified
    );
}

#[test]
fn the_same_files_are_the_same_model_and_others_with_the_same_index_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    let mut hub = Hub::tiny("llama", "BF16").sharded(2);
    let folder = |name: &str, hub: &Hub| {
        hub.write(&dir.path().join(name));
        dir.path().join(name)
    };
    store.add(&folder("one", &hub), &named("one"), &mut |_| {}).unwrap();
    assert_eq!(store.add(&folder("again", &hub), &named("again"), &mut |_| {}).unwrap().0, "one");
    hub.whole().data[0] ^= 1;
    assert_eq!(store.add(&folder("tuned", &hub), &named("tuned"), &mut |_| {}).unwrap().0, "tuned");
    // And so whoever reads the store's own catalogue knows both.
    let mut known = Catalogue::built_in().unwrap();
    known.extend(Catalogue::parse(&fs::read_to_string(store.dir().join("catalogue.toml")).unwrap()).unwrap());
    assert!(known.get("one").is_ok() && known.get("tuned").is_ok());
    assert!(matches!(
        store.add(&folder("cut", &Hub { index: None, ..hub }), &named("cut"), &mut |_| {}),
        Err(ModelError::Unusable { .. })
    ));
}

type Files = Arc<(BTreeMap<String, Vec<u8>>, Mutex<Vec<String>>)>;

async fn file(State(files): State<Files>, Asked(name): Asked<String>) -> Result<Vec<u8>, StatusCode> {
    files.1.lock().unwrap().push(name.clone());
    files.0.get(&name).cloned().ok_or(StatusCode::NOT_FOUND)
}

#[test]
fn a_repository_is_fetched_file_by_file_and_remembered_with_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, folder) = (store(dir.path()), dir.path().join("there"));
    Hub::tiny("qwen2", "F16").sharded(2).write(&folder);
    let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    let files: BTreeMap<_, _> = fs::read_dir(&folder).unwrap().map(|entry| read(entry.unwrap())).collect();
    let count = files.len();
    let files = Files::new((files, Mutex::default()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/me/tiny/resolve/main/{*file}", get(file)).with_state(files.clone());
    runtime.spawn(async move { axum::serve(listener, routes).await });

    let repo = HubRepo::parse("hub:me/tiny").unwrap();
    let fetched = store.fetch_repo_at(&endpoint, &repo, &mut |_| {}).unwrap();
    assert!(crate::inspect(&fetched).unwrap().to_string().starts_with("qwen2"));
    // Once more: only what isn't there is asked for again.
    files.1.lock().unwrap().clear();
    store.fetch_repo_at(&endpoint, &repo, &mut |_| {}).unwrap();
    let asked = std::mem::take(&mut *files.1.lock().unwrap());
    assert_eq!(asked, ["generation_config.json", "chat_template.jinja"]);
    let new = NewModel { hub: Some(repo), ..named("tiny") };
    store.add(&fetched, &new, &mut |_| {}).unwrap();
    let entry = store.catalogue().get("tiny").unwrap();
    assert_eq!(entry.files().len(), count);
    for file in entry.files() {
        let hub = file.hub.unwrap();
        assert_eq!((hub.repo.as_str(), hub.revision.as_str()), ("me/tiny", "main"));
        assert_eq!(file.file, format!("tiny/{}", hub.file));
    }
    let other = HubRepo::parse("hub:me/other").unwrap();
    let refused = store.fetch_repo_at(&endpoint, &other, &mut |_| {}).unwrap_err().to_string();
    assert!(refused.contains("config.json"), "{refused}");
}
