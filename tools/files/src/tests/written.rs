//! Files are replaced as a whole, keep what is theirs, and no change undoes another.

use std::{
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
};

use super::*;

/// The permission bits of a file below the root.
fn mode(world: &World, path: &str) -> u32 {
    fs::metadata(world.root().join(path)).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_write_creates_folders_and_says_what_it_did() {
    let world = World::new(&[]).await;
    let arguments = json!({"path": "./deep/er/a.md", "content": "grüße\n"});
    let created = world.call("write", arguments.clone()).await;
    assert_eq!(created.texts, ["created deep/er/a.md (8 bytes)"]);
    assert_eq!(created.structured, Some(json!({"path": "deep/er/a.md", "bytes": 8, "created": true})));
    // Idempotent: the same call leaves the same file.
    assert_eq!(world.call("write", arguments).await.texts, ["replaced deep/er/a.md (8 bytes)"]);
    assert_eq!(world.content("deep/er/a.md"), "grüße\n");
}

#[tokio::test]
async fn no_temporary_file_stays() {
    let world = World::new(&[("a.md", "one\n")]).await;
    fs::create_dir(world.root().join("folder")).unwrap();
    symlink("a.md", world.root().join("link")).unwrap();
    world.ok("write", json!({"path": "a.md", "content": "two\n"})).await;
    world.ok("edit", json!({"path": "a.md", "old": "two", "new": "three"})).await;
    world.error("edit", json!({"path": "a.md", "old": "two", "new": "three"})).await;
    world.error("write", json!({"path": "folder", "content": ""})).await;
    world.error("write", json!({"path": "link", "content": ""})).await;
    assert_eq!(names(&world.root()), ["a.md", "folder", "link"]);
}

/// Whoever has the old file open goes on reading the old content: it was replaced, not written over.
#[tokio::test]
async fn readers_see_the_old_content_or_the_new() {
    let world = World::new(&[("a.md", "old content\n")]).await;
    let mut open = fs::File::open(world.root().join("a.md")).unwrap();
    world.ok("write", json!({"path": "a.md", "content": "new\n"})).await;
    let mut seen = String::new();
    open.read_to_string(&mut seen).unwrap();
    assert_eq!((seen.as_str(), world.content("a.md").as_str()), ("old content\n", "new\n"));
}

#[tokio::test]
async fn permissions_stay() {
    let world = World::new(&[("run.sh", "echo one\n"), ("private.md", "one\n")]).await;
    let set =
        |path: &str, mode| fs::set_permissions(world.root().join(path), fs::Permissions::from_mode(mode)).unwrap();
    set("run.sh", 0o4755);
    set("private.md", 0o600);
    world.ok("edit", json!({"path": "run.sh", "old": "one", "new": "two"})).await;
    world.ok("write", json!({"path": "private.md", "content": "two\n"})).await;
    world.ok("write", json!({"path": "new.md", "content": "two\n"})).await;
    fs::write(world.root().join("ordinary"), "").unwrap();
    // Without set-user-id, which no program keeps over a change.
    assert_eq!((mode(&world, "run.sh"), mode(&world, "private.md")), (0o755, 0o600));
    assert_eq!(mode(&world, "new.md"), mode(&world, "ordinary"));
}

#[tokio::test]
async fn a_read_only_file_is_left_alone() {
    let world = World::new(&[("fixed.md", "one\n")]).await;
    let path = world.root().join("fixed.md");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    // The superuser may write to any file, so for it there is nothing to refuse.
    let may = fs::OpenOptions::new().write(true).open(&path).is_ok();
    let reply = world.call("write", json!({"path": "fixed.md", "content": "two\n"})).await;
    assert_eq!((reply.is_error, world.content("fixed.md") == "two\n"), (!may, may), "{reply:?}");
    assert_eq!(mode(&world, "fixed.md"), 0o444);
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_nothing_else() {
    let world = World::new(&[("a.md", "one\r\ntwo\r\n\r\ntwo three\n")]).await;
    let reply = world.call("edit", json!({"path": "a.md", "old": "two three", "new": "3"})).await;
    assert_eq!(reply.texts, ["replaced in a.md, line 4"]);
    assert_eq!(reply.structured, Some(json!({"path": "a.md", "replaced": 1, "lines": [4]})));
    world.ok("edit", json!({"path": "a.md", "old": "one\r\ntwo", "new": "1\r\ntwo two"})).await;
    let replaced = world.ok("edit", json!({"path": "a.md", "old": "two", "new": "", "count": 2})).await;
    assert_eq!(replaced, json!({"path": "a.md", "replaced": 2, "lines": [2, 2]}));
    assert_eq!(world.content("a.md"), "1\r\n \r\n\r\n3\n");
}

/// Edits of one file from two sessions at once: each reads, changes and writes all of it, and none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn no_edit_undoes_another() {
    let lines: String = (0..40).map(|n| format!("<{n}>\n")).collect();
    let world = World::new(&[("a.md", &lines)]).await;
    let (pipe, _server) = serve(&world.root());
    let other = ().serve(pipe).await.unwrap();
    let edits: Vec<_> = (0..40)
        .map(|n| {
            let peer = if n % 2 == 0 { world.client.peer() } else { other.peer() }.clone();
            let arguments = json!({"path": "a.md", "old": format!("<{n}>"), "new": format!("done {n}")});
            let params = CallToolRequestParams::new("edit").with_arguments(arguments.as_object().unwrap().clone());
            tokio::spawn(async move { peer.call_tool_once(params).await.unwrap() })
        })
        .collect();
    for edit in edits {
        edit.await.unwrap();
    }
    assert_eq!(world.content("a.md"), (0..40).map(|n| format!("done {n}\n")).collect::<String>());
    assert_eq!(names(&world.root()), ["a.md"]);
}
