//! The MCP host against real servers that nobody here wrote, and against one that misbehaves on cue.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use agentd::{
    chat::{Effect, MediaSource, Part, ToolDef},
    mcp::{
        Answered, Call, Error, GuardId, Host, Listing, Outcome, Progress, Server, ToolHost, guard::Program,
        host::Config,
    },
};
use futures_util::future::join_all;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The servers that `tests/servers/install` puts there.
fn installed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers").join(path);
    assert!(path.exists(), "{} is missing; run tests/servers/install", path.display());
    path.to_string_lossy().into_owned()
}

fn python() -> String {
    installed("python/bin/python3")
}

fn hostile(mode: &str) -> Server {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/hostile.py");
    Server::stdio("bad", python()).args(["-S", "-E", &script.to_string_lossy(), mode])
}

/// A host with a home of its own and the program as guard.
struct Tested {
    host: Host,
    home: TempDir,
}

fn tested(servers: impl IntoIterator<Item = Server>) -> Tested {
    let home = tempfile::tempdir().unwrap();
    Tested { host: again(&home, servers), home }
}

/// A host in a home that was used before.
fn again(home: &TempDir, servers: impl IntoIterator<Item = Server>) -> Host {
    let guard = Program::new(env!("CARGO_BIN_EXE_agentd"));
    Host::new(Config { servers: servers.into_iter().collect(), home: Some(home.path().to_owned()), guard: Some(guard) })
}

impl Tested {
    async fn list(&self) -> Listing {
        self.host.list().await.unwrap()
    }

    /// The tool that the server calls so.
    async fn tool(&self, name: &str) -> ToolDef {
        let listing = self.list().await;
        let tool = listing.tools.iter().find(|tool| tool.origin.tool == name);
        tool.unwrap_or_else(|| panic!("no tool {name} in {listing:#?}")).clone()
    }

    async fn call(&self, tool: &ToolDef, arguments: Value) -> Outcome {
        call(&self.host, tool, &arguments.to_string(), PATIENT).await.0
    }

    /// What `do` says when told to do `what`.
    async fn does(&self, what: &str) -> Outcome {
        let tool = self.tool("do").await;
        self.call(&tool, json!({ "what": what })).await
    }

    fn eras(&self) -> Vec<String> {
        let files = fs::read_dir(self.home.path().join("eras")).into_iter().flatten();
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    fn locks(&self) -> usize {
        fs::read_dir(self.home.path().join("guards")).into_iter().flatten().count()
    }
}

/// Idle and total time of calls that are to be answered.
const PATIENT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(60));

async fn call(
    host: &Host,
    tool: &ToolDef,
    arguments: &str,
    (idle, total): (Duration, Duration),
) -> (Outcome, Vec<Progress>) {
    let call = Call {
        tool: tool.origin.clone(),
        arguments: arguments.into(),
        idempotency_key: "run/t1c1".to_owned(),
        idle,
        total,
        certain: false,
    };
    let mut told = Vec::new();
    let outcome = host.prepare(tool).await.unwrap().call(call, &mut |progress| told.push(progress)).await;
    (outcome, told)
}

/// The only text of an answer that is no error.
fn text(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answered(Answered { content, is_error: false, .. }) => only_text(&content),
        other => panic!("{other:?}"),
    }
}

/// The only text of an answer that is an error.
fn error(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answered(Answered { content, is_error: true, .. }) => only_text(&content),
        other => panic!("{other:?}"),
    }
}

fn lost(outcome: Outcome) -> String {
    match outcome {
        Outcome::Lost(lost) => lost.why,
        other => panic!("{other:?}"),
    }
}

fn only_text(content: &[Part]) -> String {
    match content {
        [Part::Text(text)] => text.to_string(),
        other => panic!("{other:?}"),
    }
}

fn json_text(outcome: Outcome) -> Value {
    serde_json::from_str(&text(outcome)).unwrap()
}

/// Waits until `what` holds; fails after far longer than it should take.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn alive(pid: i32) -> bool {
    // A process that nobody has buried yet is dead all the same.
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    match state.as_deref().and_then(|stat| stat.rsplit_once(')')) {
        Some((_, rest)) => !rest.trim_start().starts_with(['Z', 'X']),
        None => {
            Pid::from_raw(pid).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
                && !cfg!(target_os = "linux")
        }
    }
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.tools.iter().map(|tool| tool.name.as_str()).collect()
}

/// Each tool with its effect and where that was learnt.
fn effects(listing: &Listing) -> String {
    let line = |tool: &ToolDef| format!("{} {} ({:?})", tool.name, tool.effect, tool.effect_source);
    listing.tools.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn node(server: &str) -> Server {
    let script = installed(&format!("node/node_modules/@modelcontextprotocol/server-{server}/dist/index.js"));
    Server::stdio(server, "node").args([script])
}

#[tokio::test(flavor = "multi_thread")]
async fn server_filesystem_lists_and_works() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let tested = tested([node("filesystem").args([folder.to_string_lossy()])]);
    let listing = tested.list().await;
    insta::assert_snapshot!(effects(&listing), @r"
    filesystem__read_file read (Hints)
    filesystem__read_text_file read (Hints)
    filesystem__read_media_file read (Hints)
    filesystem__read_multiple_files read (Hints)
    filesystem__write_file destructive (Hints)
    filesystem__edit_file destructive (Hints)
    filesystem__create_directory idempotent (Hints)
    filesystem__list_directory read (Hints)
    filesystem__list_directory_with_sizes read (Hints)
    filesystem__directory_tree read (Hints)
    filesystem__move_file destructive (Hints)
    filesystem__search_files read (Hints)
    filesystem__get_file_info read (Hints)
    filesystem__list_allowed_directories read (Hints)
    ");
    assert_eq!((&listing.warnings[..], &listing.missing[..]), (&[][..], &[][..]));

    let file = folder.join("note.txt");
    let write = tested.tool("write_file").await;
    let written = tested.call(&write, json!({"path": file, "content": "größer\n"})).await;
    assert!(text(written).contains("note.txt"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "größer\n");
    let read = tested.tool("read_text_file").await;
    let Outcome::Answered(answer) = tested.call(&read, json!({"path": file})).await else { panic!() };
    assert_eq!(
        answer,
        Answered {
            content: vec![Part::text("größer\n")],
            structured: Some(json!({"content": "größer\n"}).to_string().into()),
            ..Answered::default()
        }
    );
    let outside = tested.call(&read, json!({"path": "/etc/passwd"})).await;
    assert!(error(outside).contains("Access denied"));
    tested.host.close().await;
    assert_eq!(tested.locks(), 0, "the guard has cleaned up");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_everything_answers_in_all_kinds() {
    let tested = tested([node("everything")]);
    let listing = tested.list().await;
    insta::assert_snapshot!(names(&listing).join("\n"), @r"
    everything__echo
    everything__get-annotated-message
    everything__get-env
    everything__get-resource-links
    everything__get-resource-reference
    everything__get-structured-content
    everything__get-sum
    everything__get-tiny-image
    everything__gzip-file-as-resource
    everything__toggle-simulated-logging
    everything__toggle-subscriber-updates
    everything__trigger-long-running-operation
    everything__simulate-research-query
    ");
    assert_eq!(text(tested.call(&tested.tool("echo").await, json!({"message": "hi"})).await), "Echo: hi");

    let Outcome::Answered(image) = tested.call(&tested.tool("get-tiny-image").await, json!({})).await else { panic!() };
    let images = image.content.iter().filter_map(|part| match part {
        Part::Image(media) => {
            Some((media.mime.as_str(), matches!(&media.source, MediaSource::Base64(data) if data.len() > 100)))
        }
        _ => None,
    });
    assert_eq!(images.collect::<Vec<_>>(), [("image/png", true)]);

    let weather = tested.call(&tested.tool("get-structured-content").await, json!({"location": "Chicago"})).await;
    let Outcome::Answered(Answered { structured: Some(weather), content, .. }) = weather else { panic!() };
    let weather: Value = serde_json::from_str(&weather).unwrap();
    assert!(weather["temperature"].is_number() && !content.is_empty());

    let links = tested.call(&tested.tool("get-resource-links").await, json!({"count": 2})).await;
    let Outcome::Answered(Answered { content, .. }) = links else { panic!() };
    let link = |part: &Part| matches!(part, Part::Text(text) if text.contains("\"type\":\"resource_link\""));
    assert_eq!(content.iter().filter(|part| link(part)).count(), 2);

    let long = tested.tool("trigger-long-running-operation").await;
    let (done, progress) = call(&tested.host, &long, r#"{"duration": 1, "steps": 4}"#, PATIENT).await;
    assert!(text(done).contains("completed"));
    let steps: Vec<_> = progress.iter().map(|step| (step.done, step.total)).collect();
    assert_eq!(steps, [(1.0, Some(4.0)), (2.0, Some(4.0)), (3.0, Some(4.0)), (4.0, Some(4.0))]);
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_time_speaks_the_new_era_and_is_remembered_so() {
    let server = || Server::stdio("time", installed("python/bin/mcp-server-time")).args(["--local-timezone", "UTC"]);
    let first = tested([server()]);
    let listing = first.list().await;
    insta::assert_snapshot!(effects(&listing), @r"
    time__get_current_time read (Hints)
    time__convert_time read (Hints)
    ");
    let time = first.call(&first.tool("get_current_time").await, json!({"timezone": "Europe/Berlin"})).await;
    assert_eq!(json_text(time)["timezone"], "Europe/Berlin");
    first.host.close().await;
    assert!(matches!(&first.eras()[..], [era] if era.contains("\"discover\"")), "{:?}", first.eras());

    let second = Tested { host: again(&first.home, [server()]), home: first.home };
    let unknown = second.call(&second.tool("get_current_time").await, json!({"timezone": "Mars/Olympus"})).await;
    assert!(error(unknown).contains("Mars/Olympus"));
    second.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_git_works_beside_others_and_tools_come_in_a_stable_order() {
    let folder = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let done = std::process::Command::new("git").args(args).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    git(&["init", "-q"]);
    git(&["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-q", "--allow-empty", "-m", "the first"]);
    let servers = || {
        let git = Server::stdio("git", installed("python/bin/mcp-server-git"))
            .args(["--repository", &folder.path().to_string_lossy()]);
        [git.allow("git_l*").allow("git_status"), Server::files("files", folder.path()), hostile("legacy")]
    };
    let tested = tested(servers());
    let listing = tested.list().await;
    insta::assert_snapshot!(effects(&listing), @r"
    bad__do write (Default)
    files__edit write (Hints)
    files__list read (Hints)
    files__read read (Hints)
    files__search read (Hints)
    files__write destructive (Hints)
    git__git_status read (Hints)
    git__git_log read (Hints)
    ");
    let log = tested.call(&tested.tool("git_log").await, json!({"repo_path": folder.path()})).await;
    assert!(text(log).contains("the first"));
    let denied = ToolDef {
        origin: agentd::chat::ToolName { server: "git".into(), tool: "git_reset".into() },
        ..tested.tool("git_log").await
    };
    assert!(matches!(tested.host.prepare(&denied).await, Err(Error::Changed { change: "went away", .. })));
    tested.host.close().await;

    let mut reversed = servers();
    reversed.reverse();
    let other = again(&tested.home, reversed).list().await.unwrap();
    assert_eq!(other.tools, listing.tools);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bundled_server_needs_no_process() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.txt"), "alpha").unwrap();
    let host = Host::new(Config { servers: vec![Server::files("files", folder.path())], ..Config::default() });
    let listing = host.list().await.unwrap();
    assert_eq!((&listing.warnings[..], listing.tools.len()), (&[][..], 5));
    let read = listing.tools.iter().find(|tool| tool.origin.tool == "read").unwrap();
    assert_eq!((read.effect, host.prepare(read).await.unwrap().guard()), (Effect::Read, None));
    let (outcome, _) = call(&host, read, r#"{"path": "a.txt"}"#, PATIENT).await;
    assert!(text(outcome).contains("alpha"));
    host.close().await;
    assert!(matches!(host.prepare(read).await, Err(Error::NotStarted { detail, .. }) if detail.contains("closed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_open_a_session_is_found_and_remembered() {
    let fast = Duration::from_millis(300);
    let table = [
        ("legacy", "initialize"),
        ("modern", "discover"),
        ("exit-on-probe", "initialize"),
        ("silent-on-probe", "initialize"),
        ("slow-legacy", "initialize"),
        ("slow-modern", "discover"),
        ("slow-exit-on-probe", "initialize"),
        ("newer", "initialize"),
    ];
    join_all(table.map(|(mode, era)| async move {
        let log = tempfile::NamedTempFile::new().unwrap();
        let patience = if mode == "legacy" { PATIENT.0 } else { fast };
        let server = || hostile(mode).probe_patience(patience).env("LOG", log.path().to_string_lossy());
        let mut tested = tested([server()]);
        assert_eq!(json_text(tested.does("echo").await), json!({"what": "echo"}), "{mode}");
        tested.host.close().await;
        assert!(matches!(&tested.eras()[..], [known] if known.contains(era)), "{mode}: {:?}", tested.eras());
        // What is remembered is used: the session opens with its first message.
        fs::write(log.path(), "").unwrap();
        tested.host = again(&tested.home, [server()]);
        tested.list().await;
        tested.host.close().await;
        let opening = if era == "discover" { "server/discover" } else { "initialize" };
        assert_eq!(methods(log.path()).first().map(String::as_str), Some(opening), "{mode}");
    }))
    .await;
}

fn methods(log: &Path) -> Vec<String> {
    let lines = fs::read_to_string(log).unwrap();
    let method =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["method"].as_str().unwrap_or("answer").to_owned();
    lines.lines().map(method).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_wrongly_does_not_hurt() {
    for (before, after) in [("legacy", "modern"), ("modern", "legacy")] {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("server.py");
        // One command whose server changes between two starts.
        let install = |mode: &str| {
            let hostile = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/hostile.py");
            let program = format!(
                "import runpy, sys\nsys.argv[1:] = [{mode:?}]\nrunpy.run_path({hostile:?}, run_name='__main__')"
            );
            fs::write(&script, program).unwrap();
        };
        let server = || Server::stdio("bad", python()).args([script.to_string_lossy()]);
        install(before);
        let mut tested = tested([server()]);
        tested.list().await;
        tested.host.close().await;
        let known = tested.eras();
        install(after);
        tested.host = again(&tested.home, [server()]);
        assert_eq!(names(&tested.list().await), ["bad__do"]);
        tested.host.close().await;
        assert_ne!(tested.eras(), known);
        // A damaged file is none.
        let file = fs::read_dir(tested.home.path().join("eras")).unwrap().next().unwrap().unwrap().path();
        fs::write(file, [0xff, 0]).unwrap();
        tested.host = again(&tested.home, [server()]);
        assert_eq!(names(&tested.list().await), ["bad__do"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_version_is_asked_again() {
    let server = |version: &str| hostile("legacy").env("VERSION", version);
    let mut tested = tested([server("1")]);
    let mut known = Vec::new();
    for version in ["1", "2", "2"] {
        tested.host = again(&tested.home, [server(version)]);
        tested.list().await;
        tested.host.close().await;
        known.push(tested.eras().join(""));
    }
    let era = |version: &str| format!(r#"{{"era":"initialize","version":"{version}"}}"#);
    assert_eq!(known, [era("1"), String::new(), era("2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_says_why() {
    let why = |error| match error {
        Error::NotStarted { server, detail } => {
            assert_eq!(server, "bad");
            detail
        }
        other => panic!("{other}"),
    };
    let dies = tested([hostile("dies")]).host.list().await.unwrap_err();
    insta::assert_snapshot!(why(dies), @r"
    it ended before a session was open; it ended with exit status: 4; on stderr it said:
    [31mno licence found
    ");
    let missing = tested([Server::stdio("bad", "no-such-program-anywhere")]).host.list().await.unwrap_err();
    insta::assert_snapshot!(why(missing), @r#"
    it ended before a session was open; it ended with exit status: 127; on stderr it said:
    agentd guard: cannot start "no-such-program-anywhere": No such file or directory (os error 2)
    "#);
    let hangs = hostile("hang-in-list").start_timeout(Duration::from_secs(1));
    insta::assert_snapshot!(why(tested([hangs]).host.list().await.unwrap_err()), @"it did not list its tools within 1s");
    let crashes = tested([hostile("crash-in-list")]).host.list().await.unwrap_err();
    insta::assert_snapshot!(why(crashes), @r"
    it ended before it listed its tools; it ended with exit status: 5; on stderr it said:
    cannot list
    ");
    let never = Server::stdio("bad", "sleep")
        .args(["600"])
        .probe_patience(Duration::from_millis(100))
        .start_timeout(Duration::from_millis(500));
    insta::assert_snapshot!(why(tested([never]).host.list().await.unwrap_err()), @"it did not open a session within 500ms");
    let glob = tested([hostile("legacy").allow("[")]).host.list().await.unwrap_err();
    insta::assert_snapshot!(why(glob), @"its tools cannot be chosen: error parsing glob '[': unclosed character class; missing ']'");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_server_that_does_not_start_is_only_missing() {
    let broken = Server::stdio("broken", "no-such-program-anywhere").optional();
    let tested = tested([broken, hostile("legacy"), hostile("no-list").optional()]);
    let listing = tested.list().await;
    assert_eq!(names(&listing), ["bad__do"]);
    assert!(
        matches!(&listing.missing[..], [(name, why)] if name == "broken" && why.contains("no-such-program-anywhere")),
        "{listing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_not_as_they_should_be_cost_only_what_is_bad() {
    let listing = |mode: &'static str| async move {
        let tested = tested([hostile(mode)]);
        let listing = tested.list().await;
        tested.host.close().await;
        listing
    };
    let circle = listing("circle").await;
    assert_eq!(names(&circle), ["bad__t0", "bad__t1", "bad__t2"]);
    insta::assert_snapshot!(circle.warnings.join("\n"), @r#"server "bad": its list of tools goes round in circles; it was cut where it repeats"#);
    let endless = listing("endless").await;
    assert_eq!((endless.tools.len(), endless.warnings.len()), (2_000, 1));
    let bad = listing("bad-tools").await;
    assert_eq!(names(&bad), ["bad__do"]);
    insta::assert_snapshot!(bad.warnings.join("\n"), @r#"
    server "bad": its tool "no-schema" is left out: its input schema is no object but null
    server "bad": its tool number 3 is left out: it has no name
    server "bad": its tool "twin" is left out: it lists several, and a call could mean any of them
    "#);
    let odd = listing("odd-names").await;
    insta::assert_snapshot!(names(&odd).join("\n"), @r"
    bad__a_b_b96ca0ff
    bad__a_b
    bad__xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_81937d4a
    bad__xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_1c054ce4
    bad__l_s_fil__
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_skipped() {
    let tested = tested([hostile("garbage")]);
    assert_eq!(json_text(tested.does("echo").await), json!({"what": "echo"}));
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_answers_are_answers() {
    let tested = tested([hostile("legacy")]);
    for (what, wanted) in [
        ("error-without-code", "\"it is broken\""),
        ("error", "no such row (error -32602, {\"row\": 7})"),
        ("input", "the server needs input from a person, which agentd cannot ask for yet"),
    ] {
        assert_eq!(error(tested.does(what).await), wanted, "{what}");
    }
    let Outcome::Answered(null) = tested.does("null").await else { panic!() };
    assert_eq!((null.is_error, null.notes.len()), (false, 1), "it was done");
    assert_eq!(text(tested.does("text-id").await), "as text");
    assert_eq!(text(tested.does("wrong-then-twice").await), "first");
    assert_eq!(text(tested.does("flood").await), "flooded");
    let Outcome::Answered(hologram) = tested.does("hologram").await else { panic!() };
    assert_eq!(
        hologram,
        Answered {
            content: vec![Part::text(r#"{"type": "hologram", "data": 1}"#), Part::text("beside")],
            structured: Some("[1, 2]".into()),
            ..Answered::default()
        }
    );
    // We serve no elicitation, and say so rather than decline in somebody's name.
    assert_eq!(json_text(tested.does("ask").await)["error"]["code"], -32601);
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_arrive_as_written_and_with_the_key() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let tested = tested([hostile("legacy").env("LOG", log.path().to_string_lossy())]);
    let tool = tested.tool("do").await;
    let exact = r#"{"what":"meta","n":123456789012345678901234567890,"e":1.10,"s":"\u00e9"}"#;
    let (outcome, _) = call(&tested.host, &tool, exact, PATIENT).await;
    assert_eq!(json_text(outcome)["agentd/idempotencyKey"], "run/t1c1");
    assert!(fs::read_to_string(log.path()).unwrap().contains(exact));
    let lines = call(&tested.host, &tool, "{\n  \"what\": \"echo\"\r\n}", PATIENT).await.0;
    assert_eq!(json_text(lines), json!({"what": "echo"}));
    let (not_json, _) = call(&tested.host, &tool, "[1]", PATIENT).await;
    assert!(matches!(not_json, Outcome::NeverSent(_)), "{not_json:?}");
    tested.host.close().await;
}

/// The answer to a call to which the server sends these bytes as they are, `ID` standing for the call's id.
async fn answered_with(tested: &Tested, line: &[u8]) -> Outcome {
    let hex: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
    tested.call(&tested.tool("do").await, json!({"what": "raw", "hex": hex})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_is_a_result_however_odd_its_bytes_are() {
    let tested = tested([hostile("legacy")]);
    for (line, content, note) in [
        (&br#"{"result":{"content":[{"type":"text","text":"half \ud83d... 42"}]},"id":ID}"#[..], "half \u{fffd}... 42", "surrogate"),
        (b"{\"id\":ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"caf\xe9 42\"}]}}", "caf\u{fffd} 42", "UTF-8"),
        (br#"{"id":ID,"result":{"content":[{"type":"odd","n":NaN,"m":-Infinity}]}}"#, r#"{"type":"odd","n":"NaN","m":"-Infinity"}"#, "NaN"),
        (b"{\"id\":ID,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"a\tb \\x 42\"}]}}", "a\tb \\x 42", "escaped"),
        (br#"{"id":ID,"result":{"content":[{"type":"text","text":"no","text":"twice 42"}],"content":[{"type":"text","text":"twice 42"}]}}"#, "twice 42", ""),
        (br#"{"id":ID,"result":{"content":[{"type":"odd","n":1e999,"m":12345678901234567890123456789012345678901234567890}]}}"#, r#"{"type":"odd","n":1e999,"m":12345678901234567890123456789012345678901234567890}"#, ""),
    ] {
        let outcome = answered_with(&tested, line).await;
        let Outcome::Answered(answered) = outcome else { panic!("{outcome:?} for {:?}", String::from_utf8_lossy(line)) };
        assert_eq!((only_text(&answered.content).as_str(), answered.is_error), (content, false));
        assert_eq!(answered.notes.len(), usize::from(!note.is_empty()), "{:?}", answered.notes);
        assert!(answered.notes.iter().all(|told| told.contains(note)), "{:?}", answered.notes);
    }
    let structured = r#"{"price":0.1234567890123456789012345,"n":[1e999]}"#;
    let line = format!("{{\"id\":ID,\"result\":{{\"structuredContent\":{structured}}}}}");
    let Outcome::Answered(answered) = answered_with(&tested, line.as_bytes()).await else { panic!() };
    assert_eq!(answered.structured.as_deref(), Some(structured));
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_read_is_an_unknown_outcome_and_leaves_the_server_alone() {
    let tested = tested([hostile("legacy")]);
    let first = text(tested.does("pid").await);
    let line = br#"{"id":ID,"result":{"content":[{"type":"text","text":"a"]}}"#;
    let Outcome::Lost(lost) = answered_with(&tested, line).await else { panic!() };
    assert_eq!(
        (&*lost.why, lost.timed_out, lost.over),
        ("the server answered, but its answer is no JSON that can be read", false, true)
    );
    let Outcome::Answered(deep) = tested.does("deep").await else { panic!() };
    assert_eq!((only_text(&deep.content).len(), deep.is_error), (1000, false), "depth alone makes nothing unreadable");
    assert_eq!(text(tested.does("pid").await), first);
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_long_is_kept_to_the_limit() {
    let tested = tested([hostile("legacy")]);
    for (what, failed) in [("huge", false), ("huge-id-first", false), ("huge-error", true)] {
        let Outcome::Answered(answered) = tested.does(what).await else { panic!("{what}") };
        let kept = only_text(&answered.content);
        assert!(kept.bytes().all(|byte| byte == b'x') && kept.len() > 16_000_000, "{what}: {}", kept.len());
        assert_eq!(
            (answered.is_error, &answered.notes[..]),
            (failed, &["it was longer than 16 MiB; the rest is cut off".to_owned()][..]),
            "{what}"
        );
    }
    assert_eq!(json_text(tested.does("echo").await), json!({"what": "echo"}), "the rest of the line was skipped");
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_checked_against_what_its_tool_says_of_results() {
    let tested = tested([hostile("output")]);
    let answered = async |hex: &[u8]| match answered_with(&tested, hex).await {
        Outcome::Answered(answered) => answered,
        other => panic!("{other:?}"),
    };
    let fits = answered(br#"{"id":ID,"result":{"structuredContent":{"n":1}}}"#).await;
    assert_eq!(fits.notes, Vec::<String>::new());
    let not = answered(br#"{"id":ID,"result":{"structuredContent":{"n":"one"}}}"#).await;
    assert_eq!((not.structured.as_deref(), not.is_error), (Some(r#"{"n":"one"}"#), false), "nothing is lost");
    assert!(
        matches!(&not.notes[..], [note] if note.contains("does not fit the tool's output schema") && note.contains("n")),
        "{not:?}"
    );
    let failed = answered(br#"{"id":ID,"result":{"structuredContent":{"error":1},"isError":true}}"#).await;
    assert_eq!(failed.notes, Vec::<String>::new(), "a failure has another form");
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_server_wants_again_with_its_own_state_is_made_again() {
    for mode in ["legacy", "modern"] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let tested = tested([hostile(mode).env("LOG", log.path().to_string_lossy())]);
        let again = tested.call(&tested.tool("do").await, json!({"what": "again", "times": 3})).await;
        assert_eq!(text(again), "after 3");
        let calls: Vec<Value> =
            fs::read_to_string(log.path()).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let calls: Vec<_> = calls.iter().filter(|call| call["method"] == "tools/call").collect();
        let states: Vec<_> = calls.iter().map(|call| call["params"].get("requestState")).collect();
        assert_eq!(states, [None, Some(&json!("1 \"of\"")), Some(&json!("2 \"of\"")), Some(&json!("3 \"of\""))]);
        assert_eq!(calls.iter().map(|call| call["id"].as_i64()).collect::<std::collections::BTreeSet<_>>().len(), 4);
        assert!(calls.iter().all(|call| call["params"]["arguments"]["times"] == 3));
        let endless = tested.call(&tested.tool("do").await, json!({"what": "again", "times": 1000})).await;
        assert!(error(endless).contains("again more than 10 times"));
        tested.host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_result_that_nobody_knows_is_an_error() {
    let tested = tested([hostile("legacy")]);
    let unknown = error(answered_with(&tested, br#"{"id":ID,"result":{"resultType":"partial","content":[]}}"#).await);
    assert!(unknown.contains("\"partial\"") && unknown.contains("look before you repeat it"), "{unknown}");
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_sees_only_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let tested = tested([hostile("legacy").env("GIVEN", "on purpose").cwd(folder.path())]);
    let seen = json_text(tested.does("environment").await);
    assert_eq!(Path::new(seen["cwd"].as_str().unwrap()), folder.path().canonicalize().unwrap());
    let allowed = ["HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "GIVEN"];
    let variables = seen["variables"].as_object().unwrap();
    // cargo sets this one for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let more: Vec<_> =
        variables.keys().filter(|name| !allowed.contains(&name.as_str()) && !name.starts_with("LC_")).collect();
    assert_eq!(more, Vec::<&String>::new());
    assert_eq!((&variables["GIVEN"], variables.contains_key("PATH")), (&json!("on purpose"), true));
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_keeps_a_call_alive_up_to_its_hard_cap() {
    let tested = tested([hostile("legacy")]);
    let tool = tested.tool("do").await;
    // Each silence is 100 ms long; all together are longer than the idle time.
    let (done, told) =
        call(&tested.host, &tool, r#"{"what":"progress","steps":25}"#, (Duration::from_secs(2), PATIENT.1)).await;
    assert_eq!(text(done), "finished");
    assert_eq!(told.len(), 25);
    assert_eq!(told[24], Progress { done: 25.0, total: Some(25.0), message: Some("step 25".to_owned()) });
    let (capped, told) =
        call(&tested.host, &tool, r#"{"what":"progress","steps":1000}"#, (PATIENT.0, Duration::from_secs(1))).await;
    assert_eq!(lost(capped), "it timed out after 1s, the most that a call may take");
    assert!(!told.is_empty());
}

/// Not enough for any call.
const BRIEF: (Duration, Duration) = (Duration::from_millis(300), PATIENT.1);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_reacts_after_a_slow_call_is_kept_with_all_that_it_holds() {
    for mode in ["legacy", "modern"] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let tested = tested([hostile(mode).env("LOG", log.path().to_string_lossy())]);
        let tool = tested.tool("do").await;
        let first = text(tested.does("pid").await);
        let (hung, _) = call(&tested.host, &tool, r#"{"what":"hang"}"#, BRIEF).await;
        let Outcome::Lost(hung) = hung else { panic!("{hung:?}") };
        assert_eq!(
            (&*hung.why, hung.timed_out, hung.over),
            ("it timed out after 300ms without a word from the server", true, false)
        );
        assert!(methods(log.path()).contains(&"notifications/cancelled".to_owned()));
        assert_eq!(text(tested.does("pid").await), first, "{mode}");
        tested.host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_react_is_told_and_ends_before_the_next_call() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let server = hostile("single").env("LOG", log.path().to_string_lossy());
    let tested = tested([server.cancel_patience(Duration::from_millis(300))]);
    let tool = tested.tool("do").await;
    let first = text(tested.does("pid").await);
    let guard = tested.host.prepare(&tool).await.unwrap().guard().unwrap();
    assert!(!tested.host.gone(&guard));
    let (hung, _) = call(&tested.host, &tool, r#"{"what":"sleep"}"#, BRIEF).await;
    assert_eq!(
        lost(hung),
        "it timed out after 300ms without a word from the server; its server is ended, and starts anew for the next call"
    );
    assert_ne!(tested.host.prepare(&tool).await.unwrap().guard().as_ref(), Some(&guard));
    assert!(tested.host.gone(&guard));
    let second = text(tested.does("pid").await);
    assert_ne!(first, second);
    assert!(!alive(first.parse().unwrap()));
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_must_be_over_takes_its_server_along_unless_it_is_answered() {
    let tested = tested([hostile("legacy").cancel_patience(Duration::from_millis(500))]);
    let tool = tested.tool("do").await;
    let certain = async |arguments: &str| {
        let call = Call {
            tool: tool.origin.clone(),
            arguments: arguments.into(),
            idempotency_key: "run/t1c1".to_owned(),
            idle: BRIEF.0,
            total: BRIEF.1,
            certain: true,
        };
        let prepared = tested.host.prepare(&tool).await.unwrap();
        (prepared.guard().unwrap(), prepared.call(call, &mut |_| {}).await)
    };
    let (first, cancelled) = certain(r#"{"what":"until-cancelled","then":"error"}"#).await;
    let Outcome::Lost(cancelled) = cancelled else { panic!("{cancelled:?}") };
    assert!(cancelled.over && cancelled.why.contains("stopped half way"), "{cancelled:?}");
    let (guard, late) = certain(r#"{"what":"until-cancelled","then":"result"}"#).await;
    let Outcome::Answered(late) = late else { panic!("{late:?}") };
    assert_eq!((only_text(&late.content).as_str(), guard), ("it was done", first.clone()), "the server was kept");
    assert_eq!(late.notes, ["it came late: it timed out after 300ms without a word from the server"]);
    let (guard, hung) = certain(r#"{"what":"hang"}"#).await;
    assert!(matches!(hung, Outcome::Lost(lost) if lost.timed_out && !lost.over));
    assert_eq!(guard, first);
    until("its server is gone", || tested.host.gone(&guard)).await;
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_call_is_cancelled() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let tested = tested([hostile("legacy").env("LOG", log.path().to_string_lossy())]);
    let tool = tested.tool("do").await;
    let first = text(tested.does("pid").await);
    let hung = call(&tested.host, &tool, r#"{"what":"hang"}"#, PATIENT);
    let sent =
        until("the call is sent", || methods(log.path()).iter().filter(|method| *method == "tools/call").count() == 2);
    tokio::select! {
        ended = hung => panic!("{ended:?}"),
        () = sent => {}
    }
    until("the server was told", || methods(log.path()).contains(&"notifications/cancelled".to_owned())).await;
    assert_eq!(text(tested.does("pid").await), first);
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_call_leaves_others_on_its_server_alone() {
    let tested = tested([hostile("legacy")]);
    let tool = tested.tool("do").await;
    let long = r#"{"what":"progress","steps":10}"#;
    let (long, hung) = tokio::join!(
        call(&tested.host, &tool, long, PATIENT),
        call(&tested.host, &tool, r#"{"what":"hang"}"#, (Duration::from_millis(100), PATIENT.1)),
    );
    assert!(matches!(hung.0, Outcome::Lost(_)));
    assert_eq!(text(long.0), "finished");
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_is_lost_once_and_started_again() {
    let tested = tested([hostile("legacy")]);
    let tool = tested.tool("do").await;
    let guard = tested.host.prepare(&tool).await.unwrap().guard().unwrap();
    insta::assert_snapshot!(lost(tested.does("crash").await), @r"
    the connection to the server broke (transport closed); it ended with exit status: 9; on stderr it said:
    about to fall over
    ");
    until("a crashed server is gone", || tested.host.gone(&guard)).await;
    assert_eq!(json_text(tested.does("echo").await), json!({"what": "echo"}));
    // It died while nobody called it. A call between its death and our hearing of it would be lost.
    let guard = async || tested.host.prepare(&tool).await.unwrap().guard().unwrap();
    let (pid, before): (i32, _) = (text(tested.does("pid").await).parse().unwrap(), guard().await);
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    while guard().await == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!alive(pid));
    assert_eq!(json_text(tested.does("echo").await), json!({"what": "echo"}));
    // One that keeps dying is given up.
    let mut gave_up = None;
    for _ in 0..10 {
        match tested.host.prepare(&tool).await {
            Ok(_) => drop(tested.call(&tool, json!({"what": "crash"})).await),
            Err(error) => gave_up = Some(error.to_string()),
        }
    }
    let gave_up = gave_up.unwrap();
    assert!(gave_up.contains("died 6 times within 60 s") && gave_up.contains("about to fall over"), "{gave_up}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_server_leaves_behind_neither_stays_nor_holds_up_calls() {
    let tested = tested([hostile("legacy")]);
    let tool = tested.tool("do").await;
    let guard = tested.host.prepare(&tool).await.unwrap().guard().unwrap();
    lost(tested.does("leave").await);
    until("all of it is gone", || tested.host.gone(&guard)).await;
    tested.host.close().await;
}

/// On one thread, so that the second call comes to the pipe behind the first.
#[tokio::test]
async fn a_call_that_never_left_is_told_from_a_lost_one() {
    let tested = tested([hostile("deaf")]);
    let tool = tested.tool("do").await;
    // More than a pipe holds: half of the first call is written, and the second waits behind it.
    let big = json!({"what": "echo", "fill": "x".repeat(1 << 20)}).to_string();
    let (first, second) = tokio::join!(
        biased;
        call(&tested.host, &tool, &big, (Duration::from_secs(1), PATIENT.1)),
        call(&tested.host, &tool, r#"{"what":"echo"}"#, (Duration::from_millis(300), PATIENT.1)),
    );
    assert!(matches!(first.0, Outcome::Lost(_)), "{:?}", first.0);
    assert!(matches!(second.0, Outcome::NeverSent(_)), "{:?}", second.0);
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_limit_wait_their_turn() {
    let tested = tested([hostile("legacy").calls_max(1)]);
    let tool = tested.tool("do").await;
    let slow = r#"{"what":"progress","steps":3}"#;
    let (first, second, late) = tokio::join!(
        call(&tested.host, &tool, slow, PATIENT),
        call(&tested.host, &tool, slow, PATIENT),
        call(&tested.host, &tool, slow, (PATIENT.0, Duration::from_millis(100))),
    );
    let mut ends = [first.0, second.0].map(|outcome| {
        outcome == Outcome::Answered(Answered { content: vec![Part::text("finished")], ..Answered::default() })
    });
    ends.sort();
    assert_eq!(ends, [true, true]);
    assert!(matches!(late.0, Outcome::NeverSent(_)), "{:?}", late.0);
    tested.host.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_changes_behind_our_back_is_not_called() {
    for mode in ["legacy", "modern-rug-pull"] {
        let tested = tested([hostile(mode)]);
        let tool = tested.tool("do").await;
        assert_eq!(text(tested.call(&tool, json!({"what": "pull"})).await), "pulled");
        // The server said so before it answered; it may take a moment to be heard.
        for _ in 0..1_000 {
            if tested.host.prepare(&tool).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let error = tested.host.prepare(&tool).await.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("tool bad.do changed since the run listed its tools"), "{mode}");
        let now = tested.tool("do").await;
        assert_eq!((&*now.description, now.hash != tool.hash), ("changed", true));
        assert_eq!(json_text(tested.call(&now, json!({"what": "echo"})).await), json!({"what": "echo"}));
        tested.host.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_ends_servers_that_do_not_want_to_and_all_they_started() {
    let tested = tested([hostile("stubborn"), Server::files("files", "/")]);
    let pids = pids(&text(tested.does("spawn").await));
    let guard = tested.host.prepare(&tested.tool("do").await).await.unwrap().guard().unwrap();
    assert_eq!(pids.iter().filter(|pid| alive(**pid)).count(), 3);
    tested.host.close().await;
    assert_eq!(pids.iter().filter(|pid| alive(**pid)).count(), 0);
    assert!(tested.host.gone(&guard));
    assert_eq!(tested.locks(), 0);
}

fn pids(text: &str) -> Vec<i32> {
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_host_leaves_nothing() {
    let tested = tested([hostile("stubborn")]);
    let pids = pids(&text(tested.does("spawn").await));
    drop(tested.host);
    until("all processes are gone", || !pids.iter().any(|pid| alive(*pid))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_guard_servers_still_end_and_the_listing_says_so() {
    let host = Host::new(Config { servers: vec![hostile("stubborn")], ..Config::default() });
    let listing = host.list().await.unwrap();
    insta::assert_snapshot!(listing.warnings.join("\n"), @r#"server "bad": it runs without a guard, so it may outlive a `kill -9` of this process"#);
    let prepared = host.prepare(&listing.tools[0]).await.unwrap();
    assert_eq!(prepared.guard(), None);
    let (outcome, _) = call(&host, &listing.tools[0], r#"{"what":"spawn"}"#, PATIENT).await;
    let first = pids(&text(outcome));
    // Its end is noticed although something that left the group still holds its pipes.
    let (crashed, _) = call(&host, &listing.tools[0], r#"{"what":"crash"}"#, PATIENT).await;
    assert!(lost(crashed).contains("exit status: 9"));
    let (outcome, _) = call(&host, &listing.tools[0], r#"{"what":"spawn"}"#, PATIENT).await;
    let second = pids(&text(outcome));
    host.close().await;
    // Only a guard can end what left the group.
    for pids in [first, second] {
        until("the server and its group are gone", || !pids[..2].iter().any(|pid| alive(*pid))).await;
        rustix::process::kill_process(Pid::from_raw(pids[2]).unwrap(), Signal::KILL).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_guard_takes_its_server_along() {
    let tested = tested([hostile("stubborn")]);
    let tool = tested.tool("do").await;
    let server: i32 = text(tested.does("pid").await).parse().unwrap();
    let guard = tested.host.prepare(&tool).await.unwrap().guard().unwrap();
    let stat = fs::read_to_string(format!("/proc/{server}/stat")).unwrap();
    let parent: i32 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(parent).unwrap(), Signal::KILL).unwrap();
    until("the server is gone", || !alive(server)).await;
    until("its lock is free", || tested.host.gone(&guard)).await;
    assert_eq!(json_text(tested.does("echo").await), json!({"what": "echo"}));
    tested.host.close().await;
}

/// A guard of this process that runs `script` in a shell.
fn guard(host: u32, lock: &Path, script: &str) -> std::process::Command {
    let mut guard = std::process::Command::new(env!("CARGO_BIN_EXE_agentd"));
    guard.args(["__guard", &host.to_string()]).arg(lock).args(["--", "sh", "-c", script]).process_group(0);
    guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    guard
}

#[test]
fn a_guard_passes_on_input_output_and_exit_code() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("lock");
    let code = |script: &str| guard(std::process::id(), &lock, script).output().unwrap().status.code();
    assert_eq!(code("exit 7"), Some(7));
    assert_eq!(code("kill -KILL $$"), Some(128 + 9));
    let mut echo = guard(std::process::id(), &lock, "read line; echo got $line; echo $$ 1>&2").spawn().unwrap();
    echo.stdin.take().unwrap().write_all(b"it\n").unwrap();
    let output = echo.wait_with_output().unwrap();
    assert_eq!((&*output.stdout, output.status.code()), (&b"got it\n"[..], Some(0)));

    // What the server leaves behind does not outlive it, in its group or out of it.
    let file = home.path().join("left").display().to_string();
    let leave =
        format!("setsid sh -c 'echo $$; touch {file}; exec sleep 600' & until [ -e {file} ]; do sleep 0.01; done");
    let left = guard(std::process::id(), &lock, &format!("{leave}; sleep 600 & echo $!; exit 3")).output().unwrap();
    assert_eq!(left.status.code(), Some(3));
    let left = pids(&String::from_utf8(left.stdout).unwrap());
    assert_eq!((left.len(), left.iter().filter(|pid| alive(**pid)).count()), (2, 0));
}

#[test]
fn a_guard_starts_nothing_for_a_stranger_or_without_a_command() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("lock");
    let file = home.path().join("started");
    let stranger = guard(1, &lock, &format!("touch {}", file.display())).output().unwrap();
    insta::assert_snapshot!(String::from_utf8(stranger.stderr).unwrap(), @r#"agentd guard: cannot start "sh": the process to be watched is not the parent"#);
    assert_eq!((stranger.status.code(), file.exists()), (Some(125), false));
    let usage = std::process::Command::new(env!("CARGO_BIN_EXE_agentd")).args(["__guard", "x"]).output().unwrap();
    insta::assert_snapshot!(String::from_utf8(usage.stderr).unwrap(), @"agentd guard: usage: __guard PID LOCK -- COMMAND [ARGUMENT]…");
    assert_eq!(usage.status.code(), Some(125));
}

#[test]
fn a_guard_survives_signals_that_its_server_gets() {
    let home = tempfile::tempdir().unwrap();
    let lock = home.path().join("lock");
    let script = "trap 'echo told; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
    let mut guard = guard(std::process::id(), &lock, script).spawn().unwrap();
    let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let group = Pid::from_child(&guard);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        rustix::process::kill_process(group, signal).unwrap();
    }
    rustix::process::kill_process_group(group, Signal::TERM).unwrap();
    assert_eq!(lines.next().as_deref(), Some("told"));
    assert_eq!(guard.wait().unwrap().code(), Some(5));
}

/// Where [`hosted`] finds its home.
const HOME: &str = "AGENTD_TEST_HOME";

/// A process that hosts servers until it is killed; started by the test below.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of a_killed_host_leaves_nothing"]
async fn hosted() {
    let Some(home) = std::env::var_os(HOME) else { return };
    let guard = Program::new(env!("CARGO_BIN_EXE_agentd"));
    let host =
        Host::new(Config { servers: vec![hostile("stubborn")], home: Some(PathBuf::from(home)), guard: Some(guard) });
    let listing = host.list().await.unwrap();
    let (outcome, _) = call(&host, &listing.tools[0], r#"{"what":"spawn"}"#, PATIENT).await;
    let guard = host.prepare(&listing.tools[0]).await.unwrap().guard().unwrap();
    println!("\nREADY {} {}", guard.0, text(outcome));
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mcp::hosted", "--ignored", "--nocapture"])
        .env(HOME, home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(host.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("READY ").map(str::to_owned)).unwrap();
    let (guard, pids_of) = ready.split_once(' ').unwrap();
    let (guard, pids) = (GuardId(guard.to_owned()), pids(pids_of));
    let after = again(&home, []);
    assert!(!after.gone(&guard));
    assert_eq!(pids.iter().filter(|pid| alive(**pid)).count(), 3);
    host.kill().unwrap();
    host.wait().unwrap();
    until("the server and all it started are gone", || !pids.iter().any(|pid| alive(*pid))).await;
    until("its lock is free", || after.gone(&guard)).await;
}
