//! Tools from outside: what an agent's tools are taken for and why, and calling one by hand.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::terminal::Terminal;

const COUNTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");

fn world(policy: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("effects.log");
    let agent = format!(
        "version: 1\nname: counts\nmodel: demo/any\nservers:\n  \
         counter: {{command: python3, args: [-S, \"{COUNTER}\"], env: {{LOG: \"{}\"}}}}\n{policy}",
        log.display()
    );
    fs::write(dir.path().join("agent.yaml"), agent).unwrap();
    dir
}

fn agentd(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.args(args).current_dir(dir.path()).env("AGENTD_HOME", dir.path().join("home")).stdin(Stdio::null());
    command.env_remove("AGENTD_CONFIG").env_remove("AGENTD_LOG");
    command
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn ran(dir: &TempDir, args: &[&str]) -> (i32, String, String) {
    said(&agentd(dir, args).output().unwrap())
}

const POLICY: &str = "\
policy:
  counter.put: {effect: idempotent, approve: allow}
  \"*.wipe\": {approve: deny}
  \"counter.?ook\": {approve: ask}
  \"counter.*\": {approve: deny, when: \"args.text == 'never'\"}
approvals:
  default: ask_on_write
";

#[test]
fn a_list_tells_what_holds_and_where_that_comes_from() {
    let dir = world(POLICY);
    let (code, stdout, stderr) = ran(&dir, &["tools", "ls", "agent.yaml"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    insta::assert_snapshot!(stdout);

    let (_, stdout, _) = ran(&dir, &["tools", "ls", "agent.yaml", "--json"]);
    let listed: Value = serde_json::from_str(&stdout).unwrap();
    let put = &listed["tools"][1];
    assert_eq!(
        (&put["tool"], &put["effect"], &put["calls"]),
        (&"counter.put".into(), &"idempotent".into(), &"allow".into())
    );
    assert_eq!(
        put["effect_from"],
        serde_json::json!({"source": "policy", "pattern": "counter.put", "file": "agent.yaml", "line": 7, "col": 3})
    );
    assert_eq!(
        put["conditions"],
        serde_json::json!([{
            "when": "args.text == 'never'",
            "calls": "deny",
            "calls_from": {"source": "policy", "pattern": "counter.*", "file": "agent.yaml", "line": 10, "col": 3},
        }])
    );
    assert_eq!((&put["trust"], &listed["tools"][0]["effect_from"]["source"]), (&"hints".into(), &"annotations".into()));
    let tokens = listed["tools"].as_array().unwrap().iter().map(|tool| tool["tokens"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(listed["tokens"], tokens);
}

#[test]
fn a_server_that_is_not_trusted_has_only_writes() {
    let dir = world("");
    let agent = fs::read_to_string(dir.path().join("agent.yaml")).unwrap();
    fs::write(dir.path().join("agent.yaml"), agent.replace("command: python3", "trust: none, command: python3"))
        .unwrap();
    let (_, stdout, _) = ran(&dir, &["tools", "ls", "agent.yaml"]);
    assert_eq!(stdout.matches("write").count(), 4, "{stdout}");
    assert_eq!(stdout.matches("default: trust is none").count(), 4, "{stdout}");
}

#[test]
fn a_call_by_hand_is_checked_and_asks_as_the_file_says() {
    let dir = world(POLICY);
    let call = |args: &[&str]| ran(&dir, &[&["tools", "call", "agent.yaml"], args].concat());
    let happened = || {
        fs::read_to_string(dir.path().join("effects.log"))
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.starts_with("start"))
            .count()
    };

    assert_eq!(call(&["counter.put", r#"{"text": "a"}"#]), (0, "put a: done\n".to_owned(), String::new()));
    assert_eq!(happened(), 1);
    let refusals = [
        (vec!["counter.put", "{}"], 2, "text"),
        (vec!["counter.put", "[]"], 2, "must be a JSON object"),
        (vec!["counter.put", "{"], 2, "no JSON"),
        (vec!["counter.pit", "{}"], 8, "did you mean \"put\"?"),
        (vec!["countr.put", "{}"], 8, "did you mean \"counter\"?"),
        (vec!["counter", "{}"], 2, "write SERVER.TOOL"),
        (vec!["counter.look", r#"{"text": "a"}"#], 2, "needs approval (agent.yaml:9 counter.?ook)"),
        (vec!["counter.set", r#"{"text": "a"}"#], 2, "allow it with --yes"),
        (vec!["counter.wipe", r#"{"text": "a"}"#, "--yes"], 2, "is refused (agent.yaml:8 *.wipe)"),
    ];
    for (args, code, text) in refusals {
        let (found, stdout, stderr) = call(&args);
        assert_eq!((found, stdout.as_str()), (code, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(text), "{args:?}: {stderr}");
    }
    assert_eq!(happened(), 1, "nothing that was refused has happened");

    let (code, stdout, _) = call(&["counter.set", r#"{"text": "b"}"#, "--yes", "--json"]);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &document["content"][0]["text"], &document["is_error"]),
        (0, &"set b: done".into(), &false.into())
    );
    assert_eq!(happened(), 2);
}

#[test]
fn a_call_by_hand_is_held_to_conditions() {
    let dir = world(
        "policy: {counter.put: {approve: deny, when: \"args.text == 'b'\"}, \"counter.*\": {approve: allow}, counter.set: {approve: allow, when: args.gone}}\n",
    );
    let call = |tool: &str, text: &str| {
        ran(&dir, &["tools", "call", "agent.yaml", tool, &format!("{{\"text\": \"{text}\"}}"), "--yes"])
    };
    assert_eq!(call("counter.put", "a").0, 0);
    let (code, _, stderr) = call("counter.put", "b");
    assert_eq!((code, stderr.contains("is refused (a rule for such arguments)")), (2, true), "{stderr}");
    let (code, _, stderr) = call("counter.set", "a");
    assert_eq!((code, stderr.contains("call it at a terminal")), (2, true), "{stderr}");
}

#[test]
fn at_a_terminal_a_call_by_hand_is_asked_about() {
    let dir = world(POLICY);
    let mut terminal =
        Terminal::start(agentd(&dir, &["tools", "call", "agent.yaml", "counter.set", r#"{"text": "\u001b[2J"}"#]));
    terminal.until("[d]eny:");
    terminal.types("what");
    terminal.until("[d]eny:");
    terminal.types("o");
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("needs approval: agent.yaml:12 approvals"), "{seen}");
}

#[test]
fn files_that_others_can_write_start_nothing() {
    let dir = world("");
    let path = dir.path().join("agent.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    for args in [&["tools", "ls", "agent.yaml"][..], &["check", "agent.yaml"], &["run", "agent.yaml", "go"]] {
        let (code, _, stderr) = ran(&dir, args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains("agent.yaml:5:3: ") && stderr.contains("chmod g-w agent.yaml"), "{args:?}: {stderr}");
    }
    assert!(!dir.path().join("effects.log").exists());
    // A folder that is opened and a word that allows act too; what only describes does not.
    for (more, code) in [
        ("servers: {files: {builtin: files, root: .}}", 2),
        ("policy: {\"*\": {approve: allow}}", 2),
        ("approvals: {default: allow}", 2),
        ("approvals: {unattended: allow}", 2),
        ("policy: {\"*\": {approve: deny}}", 0),
        ("instructions: Be kind.", 0),
    ] {
        fs::write(&path, format!("version: 1\nname: notes\nmodel: demo/any\n{more}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(ran(&dir, &["tools", "ls", "agent.yaml"]).0, code, "{more}");
        // So does a folder in which others can put another file.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let (found, _, stderr) = ran(&dir, &["tools", "ls", "agent.yaml"]);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(found == code && (code == 0 || stderr.contains("chmod go-w")), "{more}: {stderr}");
    }

    fs::write(dir.path().join("agentd.yaml"), "version: 1\n").unwrap();
    fs::set_permissions(dir.path().join("agentd.yaml"), fs::Permissions::from_mode(0o646)).unwrap();
    let (code, _, stderr) = ran(&dir, &["models"]);
    assert_eq!((code, stderr.contains("chmod o-w")), (2, true), "{stderr}");
}

#[test]
fn variables_come_from_the_environment_and_then_from_the_file() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write(
        "agent.yaml",
        "version: 1\nname: notes\nmodel: demo/any\nservers: {files: {builtin: files, root: \"${NOTES}\"}}\n",
    );
    write("vars", "# where\nexport NOTES='notes'\n");
    for name in ["notes", "other"] {
        fs::create_dir(dir.path().join(name)).unwrap();
        write(&format!("{name}/{name}.txt"), "");
    }
    let list = ["tools", "call", "agent.yaml", "files.list"];
    let (code, _, stderr) = ran(&dir, &list);
    assert_eq!((code, stderr.contains("the variable NOTES is not set")), (2, true), "{stderr}");
    let with = [&list[..], &["--env-file", "vars"]].concat();
    let (code, stdout, stderr) = ran(&dir, &with);
    assert_eq!((code, stdout.contains("notes.txt")), (0, true), "{stdout}{stderr}");
    let (_, stdout, _) = said(&agentd(&dir, &with).env("NOTES", "other").output().unwrap());
    assert!(stdout.contains("other.txt"), "{stdout}");
    // A folder is no secret.
    let (code, _, stderr) = said(&agentd(&dir, &list).env("NOTES", "gone-for-good").output().unwrap());
    assert_eq!((code, stderr.contains("gone-for-good")), (5, true), "{stderr}");
    let (code, _, stderr) = ran(&dir, &[&list[..], &["--env-file", "gone"]].concat());
    assert_eq!((code, stderr.contains("--env-file: cannot read gone")), (2, true), "{stderr}");
}

#[test]
fn the_bundled_server_serves_other_hosts() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.txt"), "hello").unwrap();
    let mut child =
        agentd(&dir, &["tools", "serve", "files", "."]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read","arguments":{"path":"a.txt"}}}"#,
    ] {
        writeln!(stdin, "{line}").unwrap();
    }
    drop(stdin);
    let (code, stdout, stderr) = said(&child.wait_with_output().unwrap());
    assert_eq!((code, stdout.contains("hello")), (0, true), "{stdout}{stderr}");
}

#[test]
fn the_settings_tell_where_each_value_came_from_and_no_secrets() {
    let dir = TempDir::new().unwrap();
    let settings = "version: 1\nproviders:\n  local:\n    dialect: openai-chat\n    base_url: \"http://127.0.0.1:1/v1\"\n    \
        key: \"${LOCAL_KEY}\"\n    timeouts: {idle: 5s}\n  groq:\n    key: gsk_written-in-full\n\
        routes: {smart: {targets: [local/a, groq/b]}}\nbudgets: {day: $20}\n";
    fs::write(dir.path().join("agentd.yaml"), settings).unwrap();
    fs::write(dir.path().join("vars"), "LOCAL_KEY=sk-canary-1234\n").unwrap();
    let show = |args: &[&str]| {
        let mut command = agentd(&dir, &[&["config", "show", "--env-file", "vars"], args].concat());
        for key in agentd::provider::catalogue::built_in().unwrap().providers().flat_map(|provider| &provider.keys) {
            command.env_remove(key);
        }
        command.env("MISTRAL_API_KEY", "mistral-canary-1234");
        said(&command.output().unwrap())
    };
    let (code, stdout, stderr) = show(&["--origin"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    for secret in ["sk-canary-1234", "gsk_written-in-full", "mistral-canary-1234"] {
        assert!(!stdout.contains(secret), "{stdout}");
    }
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines: Vec<String> = stdout.lines().map(words).collect();
    for line in [
        "$config agentd.yaml found".to_owned(),
        format!("$home {} environment", dir.path().join("home").display()),
        "$env_file vars flag".to_owned(),
        "providers.local.key ${LOCAL_KEY} agentd.yaml:6 (${LOCAL_KEY} env-file)".to_owned(),
        "providers.local.timeouts.idle 5s agentd.yaml:7".to_owned(),
        "providers.groq.key (set) agentd.yaml:9".to_owned(),
        "routes.smart.targets[1] groq/b agentd.yaml:10".to_owned(),
        "budgets.day $20 agentd.yaml:11".to_owned(),
        "store sled default".to_owned(),
        "routes.smart.policy order default".to_owned(),
        "providers.mistral.key (set) ${MISTRAL_API_KEY} environment".to_owned(),
        "providers.groq.dialect openai-chat catalogue".to_owned(),
    ] {
        let found = lines.iter().any(|found| {
            found.replace("/private", "") == line
                || found.ends_with(&format!("/{line}"))
                || found.replace(&format!("{}/", dir.path().display()), "") == line
        });
        assert!(found, "{line:?} is missing: {stdout}");
    }
    let (_, stdout, _) = show(&["--json"]);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    let of =
        |path: &str| document["values"].as_array().unwrap().iter().find(|value| value["path"] == path).unwrap().clone();
    assert_eq!(of("providers.local.key")["origin"]["variables"]["LOCAL_KEY"], "env-file");
    assert_eq!(of("providers.local.timeouts.total")["origin"]["source"], "default");
}

#[test]
fn schemas_are_printed_for_editors() {
    let dir = TempDir::new().unwrap();
    for what in ["agent", "config"] {
        let (code, stdout, stderr) = ran(&dir, &["schema", what]);
        assert_eq!(code, 0, "{stderr}");
        let schema: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&schema["type"], &schema["additionalProperties"]), (&"object".into(), &false.into()));
        assert_eq!(schema["required"][0], "version");
    }
}
