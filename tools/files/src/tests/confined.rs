//! Nothing leads out of the root: not a path, not a link, not a link that comes while a call is under way.

use std::os::unix::fs::symlink;

use super::*;

/// The arguments of each tool for one path, chosen so that it would work if the path were a good one.
fn calls(path: &str) -> [(&'static str, Value); 5] {
    [
        ("list", json!({"path": path})),
        ("read", json!({"path": path})),
        ("write", json!({"path": path, "content": "overwritten"})),
        ("edit", json!({"path": path, "old": "TOP", "new": "NO"})),
        ("search", json!({"path": path, "pattern": "SECRET"})),
    ]
}

/// A world with every kind of link that leads out of its root.
async fn with_links() -> World {
    let world = World::new(&[("notes/a.md", "harmless\n")]).await;
    let root = world.root();
    symlink(world.outside(), root.join("absolute")).unwrap();
    symlink("../outside", root.join("relative")).unwrap();
    symlink("../../outside", root.join("notes/up")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink("relative", root.join("chain")).unwrap();
    symlink("../outside/secret.txt", root.join("file")).unwrap();
    symlink("../outside/new.txt", root.join("dangling")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    world
}

#[tokio::test]
async fn no_path_leads_out() {
    let world = with_links().await;
    let absolute = world.outside().join("secret.txt").to_str().unwrap().to_owned();
    let below_magic = format!("magic{absolute}");
    let paths = [
        "..",
        "../outside/secret.txt",
        "notes/../../outside/secret.txt",
        "notes/../../outside/new.txt",
        "./../outside",
        "/",
        "/etc/passwd",
        &absolute,
        "notes\0",
        "notes/a.md\0.txt",
        "absolute",
        "absolute/secret.txt",
        "absolute/new.txt",
        "relative/secret.txt",
        "relative/new/new.txt",
        "notes/up/secret.txt",
        "parent/outside/secret.txt",
        "chain/secret.txt",
        "file",
        "dangling",
        "magic",
        &below_magic,
    ];
    for path in paths {
        for (tool, arguments) in calls(path) {
            let error = world.error(tool, arguments).await;
            assert!(!error.contains("TOP SECRET"), "{tool} {path:?}: {error}");
        }
    }
    assert_eq!(names(&world.outside()), ["secret.txt"]);
    assert_eq!(fs::read_to_string(world.outside().join("secret.txt")).unwrap(), SECRET);
    assert_eq!(names(world.folder.path()), ["outside", "root"]);
}

#[tokio::test]
async fn no_walk_goes_through_a_link() {
    let world = with_links().await;
    let found = world.ok("search", json!({"pattern": "SECRET"})).await;
    assert_eq!(found, json!({"hits": [], "files": 1}));
    let list = world.ok("list", json!({"depth": 8})).await;
    let paths: Vec<&str> = list["entries"].as_array().unwrap().iter().map(|e| e["path"].as_str().unwrap()).collect();
    let expected =
        ["absolute", "chain", "dangling", "file", "magic", "notes", "notes/a.md", "notes/up", "parent", "relative"];
    assert_eq!(paths, expected);
}

/// Links that stay below the root are followed to read, and named as such when written to.
#[tokio::test]
async fn links_inside_are_followed_to_read_only() {
    let world = World::new(&[("notes/a.md", "hello\n")]).await;
    symlink("notes/a.md", world.root().join("latest")).unwrap();
    symlink("notes", world.root().join("alias")).unwrap();
    for path in ["latest", "alias/a.md"] {
        assert_eq!(world.call("read", json!({"path": path})).await.texts, ["hello\n"]);
    }
    let error = world.error("write", json!({"path": "latest", "content": ""})).await;
    assert_eq!(
        error,
        "\"latest\" is a symbolic link, and nothing is written through one: write to the file that it points to"
    );
    world.ok("edit", json!({"path": "alias/a.md", "old": "hello", "new": "bye"})).await;
    assert_eq!(world.content("notes/a.md"), "bye\n");
}

/// A folder that is swapped for a link to the outside, and back, as fast as can be, gives nothing away
/// and lets nothing through: what was checked is what is used.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_swapped_in_changes_nothing() {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let world = World::new(&[("door/secret.txt", "TOP harmless\n")]).await;
    let (door, spare) = (world.root().join("door"), world.root().join("spare"));
    symlink("../outside", &spare).unwrap();
    let (stop, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    /// Stops the swapping also when a call does not do as it should.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let mut rounds = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                renameat_with(CWD, &door, CWD, &spare, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Relaxed);
            }
        });
        let _stop = Stop(&stop);
        let rounds = &mut rounds;
        let calls = async {
            while *rounds < 100 || swaps.load(Relaxed) < 1_000 {
                *rounds += 1;
                for (tool, arguments) in calls(if *rounds % 2 == 0 { "door/secret.txt" } else { "door" }) {
                    let reply = world.call(tool, arguments).await;
                    let said = format!("{reply:?}");
                    assert!(!said.contains("SECRET"), "{tool}: {said}");
                }
                world.call("write", json!({"path": "door/new/new.txt", "content": "new"})).await;
                world.call("write", json!({"path": "door/secret.txt", "content": "TOP harmless\n"})).await;
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(calls));
    });
    assert_eq!(names(&world.outside()), ["secret.txt"]);
    assert_eq!(fs::read_to_string(world.outside().join("secret.txt")).unwrap(), SECRET);
}

/// A pipe would keep a reader waiting for ever.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn pipes_and_sockets_are_refused_at_once() {
    let world = World::new(&[]).await;
    let pipe = world.root().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.root().join("socket")).unwrap();
    for path in ["pipe", "socket"] {
        for (tool, arguments) in calls(path) {
            world.error(tool, arguments).await;
        }
    }
    assert_eq!(world.ok("search", json!({"pattern": "x"})).await, json!({"hits": [], "files": 0}));
    assert_eq!(names(&world.root()), ["pipe", "socket"]);
}

/// The server stays with the folder that it opened, not with the name.
#[tokio::test]
async fn a_root_that_moves_stays_the_root() {
    let world = World::new(&[("a.md", "mine\n")]).await;
    fs::rename(world.root(), world.folder.path().join("moved")).unwrap();
    symlink("outside", world.root()).unwrap();
    assert_eq!(world.call("read", json!({"path": "a.md"})).await.texts, ["mine\n"]);
    assert!(world.call("read", json!({"path": "secret.txt"})).await.is_error);
}
