//! Tests through a real rmcp client over a pipe, on a real folder. Here: the world they run in, and the protocol.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod confined;
mod tools;
mod written;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rmcp::{
    ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ErrorCode, ProtocolVersion, Tool},
    service::RunningService,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::DuplexStream, task::JoinHandle};

use crate::Files;

/// A root folder with a server on it and a client of that, and a folder next to the root that nobody may reach.
struct World {
    folder: TempDir,
    client: RunningService<RoleClient, ()>,
}

/// What a tool said.
#[derive(Debug, PartialEq)]
struct Reply {
    texts: Vec<String>,
    structured: Option<Value>,
    is_error: bool,
}

impl World {
    /// A world whose root holds these files.
    async fn new(files: &[(&str, &str)]) -> World {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret.txt"), SECRET).unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        for (path, content) in files {
            let path = folder.path().join("root").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let (pipe, _) = serve(&folder.path().join("root"));
        World { folder, client: ().serve(pipe).await.unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    /// The content of a file below the root.
    fn content(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }

    async fn call(&self, tool: &'static str, arguments: Value) -> Reply {
        call(&self.client, tool, arguments).await.unwrap()
    }

    /// Calls a tool that is to succeed and gives its structured content.
    async fn ok(&self, tool: &'static str, arguments: Value) -> Value {
        let reply = self.call(tool, arguments).await;
        assert!(!reply.is_error, "{reply:?}");
        reply.structured.unwrap()
    }

    /// Calls a tool that is to fail and gives what it says.
    async fn error(&self, tool: &'static str, arguments: Value) -> String {
        let mut reply = self.call(tool, arguments).await;
        assert!(reply.is_error && reply.texts.len() == 1 && reply.structured.is_none(), "{reply:?}");
        reply.texts.remove(0)
    }
}

/// What the file outside of every root holds.
const SECRET: &str = "TOP SECRET\n";

fn serve(root: &Path) -> (DuplexStream, JoinHandle<std::io::Result<()>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    (near, tokio::spawn(Files::new(root).unwrap().serve(tokio::io::split(far))))
}

async fn call(
    client: &RunningService<RoleClient, ()>,
    tool: &'static str,
    arguments: Value,
) -> Result<Reply, ServiceError> {
    let arguments = arguments.as_object().unwrap().clone();
    let result: CallToolResult = client.call_tool(CallToolRequestParams::new(tool).with_arguments(arguments)).await?;
    let texts = result.content.iter().map(|block| block.as_text().unwrap().text.clone()).collect();
    Ok(Reply { texts, structured: result.structured_content, is_error: result.is_error.unwrap() })
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What clients and models see of the tools: names, texts, annotations, schemas.
#[tokio::test]
async fn tools_as_clients_see_them() {
    let world = World::new(&[]).await;
    insta::assert_json_snapshot!(world.client.list_all_tools().await.unwrap());
}

#[tokio::test]
async fn every_parameter_is_described_and_no_other_is_taken() {
    let world = World::new(&[]).await;
    for tool in world.client.list_all_tools().await.unwrap() {
        assert_eq!(tool.input_schema["additionalProperties"], json!(false), "{}", tool.name);
        for (name, schema) in tool.input_schema["properties"].as_object().unwrap() {
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{}.{name}", tool.name);
        }
        let annotations = tool.annotations.unwrap();
        assert!(annotations.title.is_some() && annotations.read_only_hint.is_some(), "{}", tool.name);
    }
    let error = world.error("read", json!({"path": "a.md", "lines": 3})).await;
    assert!(error.contains("unknown field `lines`"), "{error}");
}

/// Structured content is a promise: what a tool gives fits the output schema that it shows.
#[tokio::test]
async fn structured_content_fits_its_schema() {
    let world = World::new(&[("notes/a.md", "one\ntwo\n"), ("notes/b.md", "three\n")]).await;
    let tools = world.client.list_all_tools().await.unwrap();
    let calls = [
        ("list", json!({"depth": 2, "limit": 1})),
        ("search", json!({"pattern": "o", "limit": 1})),
        ("write", json!({"path": "notes/c.md", "content": "four\n"})),
        ("edit", json!({"path": "notes/c.md", "old": "four", "new": "five"})),
    ];
    for (name, arguments) in calls {
        let tool: &Tool = tools.iter().find(|tool| tool.name == name).unwrap();
        let schema = Value::Object(tool.output_schema.as_deref().unwrap().clone());
        let result = world.ok(name, arguments).await;
        jsonschema::validate(&schema, &result).unwrap_or_else(|error| panic!("{name}: {error}: {result}"));
    }
}

#[tokio::test]
async fn both_protocol_eras_are_served() {
    let world = World::new(&[("a.md", "hello\n")]).await;
    let discover = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let eras =
        [(ClientLifecycleMode::Initialize, ProtocolVersion::V_2025_11_25), (discover, ProtocolVersion::V_2026_07_28)];
    for (mode, version) in eras {
        let (pipe, server) = serve(&world.root());
        let client = ().serve_with_lifecycle(pipe, mode).await.unwrap();
        assert_eq!(client.peer_info().unwrap().protocol_version, version);
        let reply = call(&client, "read", json!({"path": "a.md"})).await.unwrap();
        assert_eq!(reply, Reply { texts: vec!["hello\n".into()], structured: None, is_error: false });
        client.cancel().await.unwrap();
        server.await.unwrap().unwrap();
    }
}

/// Only a request that names no tool is an error of the protocol.
#[tokio::test]
async fn an_unknown_tool_is_an_error_of_the_protocol() {
    let world = World::new(&[]).await;
    match call(&world.client, "delete", json!({"path": "a.md"})).await {
        Err(ServiceError::McpError(error)) => assert_eq!(error.code, ErrorCode::INVALID_PARAMS),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_root_must_be_a_folder() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(Files::new(folder.path().join("none")).err().unwrap().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(Files::new(folder.path().join("file")).err().unwrap().kind(), std::io::ErrorKind::NotADirectory);
}

/// A host may take a call that it gave up for ended once `serve` has returned, however long that takes.
#[tokio::test]
async fn a_session_ends_after_its_last_call() {
    let world = World::new(&[]).await;
    let files = Files::new(world.root()).unwrap();
    let calls = files.calls.clone();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = tokio::spawn(files.serve(tokio::io::split(far)));
    let client = ().serve(near).await.unwrap();

    let lock = fs::File::open(world.root()).unwrap();
    lock.lock().unwrap();
    let peer = client.peer().clone();
    let arguments = json!({"path": "late.md", "content": "late"}).as_object().unwrap().clone();
    let pending = tokio::spawn(async move {
        peer.call_tool_once(CallToolRequestParams::new("write").with_arguments(arguments)).await
    });
    while calls.available_permits() == crate::CALLS_MAX as usize {
        tokio::task::yield_now().await;
    }
    client.cancel().await.unwrap();
    assert!(pending.await.unwrap().is_err());

    // rmcp gives up a call after 5 s of its clock, which is not ours: this test waits for nothing.
    tokio::time::pause();
    for _ in 0..100 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished(), "the session ended before its call");
    lock.unlock().unwrap();
    server.await.unwrap().unwrap();
    assert_eq!(world.content("late.md"), "late");
}
