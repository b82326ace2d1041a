//! The program from outside: what it prints where, what it exits with, and how a run is answered, stopped and resumed.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use agentd::provider::catalogue::built_in;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::model::{Model, Reply, Request, nobody};

/// A working directory with its settings, and a home of its own.
pub(crate) struct World {
    dir: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An agent with the bundled `files` server on `notes`.
pub(crate) const AGENT: &str = "
version: 1
name: notes
model: demo/any
servers: {files: {builtin: files, root: ./notes}}
";

/// Reads a note and then answers.
pub(crate) const READS: &str = "
answers:
  - {calls: [{name: files__read, arguments: {path: a.txt}}], usage: {input: 100, output: 20}}
  - {text: It says hello., usage: {input: 150, output: 5}}
";

/// Writes a note and then answers.
pub(crate) const WRITES: &str = "
answers:
  - {calls: [{name: files__write, arguments: {path: b.txt, content: new}}]}
  - either:
      - {when: {error: true}, text: I was not allowed to.}
      - {text: Written.}
";

impl World {
    pub fn new(agent: &str, script: &str) -> Self {
        let world = World { dir: TempDir::new().unwrap() };
        fs::create_dir(world.path("notes")).unwrap();
        world.write("notes/a.txt", "hello\n");
        world.write("agent.yaml", agent);
        world.write("script.yaml", &format!("version: 1\n{script}"));
        world.write("agentd.yaml", "version: 1\nproviders: {demo: {dialect: scripted, script: ./script.yaml}}\n");
        world
    }

    /// An agent whose tool server takes its time: each call half a minute.
    pub fn slow(tool: &str) -> Self {
        let script = format!("answers: [{{calls: [{{name: slow__{tool}, arguments: {{text: a}}}}]}}, {{text: done}}]");
        let world = World::new("", &script);
        let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
        let log = world.path("effects.log");
        let agent = json!({
            "version": 1, "name": "slow", "model": "demo/any",
            "servers": {"slow": {"command": "python3", "args": ["-S", server], "env": {"LOG": log, "GOT": world.path("got"), "SLOW_MS": "30000"}}},
        });
        world.write("agent.yaml", &agent.to_string());
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("AGENTD_HOME", self.path("home"))
            .env_remove("AGENTD_CONFIG")
            .env_remove("AGENTD_LOG")
            .stdin(Stdio::null());
        // Keys of whoever runs the tests are none of theirs.
        for key in built_in().unwrap().providers().flat_map(|provider| &provider.keys) {
            command.env_remove(key);
        }
        command
    }

    pub fn agentd(&self, args: &[&str]) -> Said {
        let output = self.command(args).output().unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("killed by {:?}", output.status.signal()));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    pub fn show(&self) -> Value {
        self.agentd(&["runs", "show", "--json"]).json()
    }
}

/// A command that is still running, seen through its stream of entries.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout }
    }

    /// Reads on until an entry of this type is durable.
    pub(crate) fn until(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "the stream ended before {kind}");
            let entry: Value = serde_json::from_str(&line).unwrap();
            if entry["type"] == kind {
                return entry;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads stderr on until a line that begins so.
    pub(crate) fn hears(&mut self, beginning: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "stderr ended before {beginning:?}");
            match byte[0] {
                b'\n' if String::from_utf8_lossy(&line).starts_with(beginning) => return,
                b'\n' => line.clear(),
                other => line.push(other),
            }
        }
    }

    pub(crate) fn end(mut self) -> (i32, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or_else(|| panic!("killed by {:?}: {stderr}", status.signal())), stderr)
    }
}

/// The id behind the first word of what stderr says first.
fn run_id(stderr: &str) -> &str {
    let first = stderr.lines().next().unwrap_or_default();
    first.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("no run: {stderr}"))
}

#[test]
fn stdout_is_the_answer_alone() {
    let world = World::new(AGENT, READS);
    let said = world.agentd(&["run", "agent.yaml", "What does it say?"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "It says hello.\n"), "{said:#?}");
    let id = run_id(&said.stderr);
    assert_eq!(
        said.stderr,
        format!("run {id} (notes, demo/any, a script and no model)\n"),
        "no progress without a terminal"
    );
}

#[test]
fn the_agent_here_takes_a_prompt_from_stdin_and_writes_a_file() {
    let world = World::new(AGENT, "answers: [{when: {input: from a file}, text: Read it.}]");
    world.write("prompt.txt", "a prompt\nfrom a file\n");
    let mut command = world.command(&["run", "-", "-o", "answer.txt"]);
    let output = command.stdin(fs::File::open(world.path("prompt.txt")).unwrap()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0), "{output:?}");
    assert_eq!(fs::read_to_string(world.path("answer.txt")).unwrap(), "Read it.\n");
    let given = world.show()["entries"][1]["data"]["parts"].to_string();
    assert!(given.contains("a prompt\\nfrom a file\""), "{given}");
}

#[test]
fn json_is_one_document() {
    let world = World::new(AGENT, READS);
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    let mut report = said.json();
    assert_eq!(report["run"], run_id(&said.stderr));
    report["run"] = "RUN".into();
    insta::assert_json_snapshot!(report);
}

#[test]
fn the_stream_is_the_journal() {
    let world = World::new(AGENT, READS);
    let said = world.agentd(&["run", "agent.yaml", "go", "--stream-json"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let shown = world.show();
    assert_eq!(&said.lines(), shown["entries"].as_array().unwrap());
    assert_eq!(shown["entries"][0]["type"], "started");
    assert_eq!(shown["output"], "It says hello.");
}

#[test]
fn an_ask_parks_the_run_until_somebody_allows_it() {
    let world = World::new(AGENT, WRITES);
    let said = world.agentd(&["run", "agent.yaml", "go"]);
    assert_eq!((said.code, said.stdout.as_str()), (3, ""), "{said:#?}");
    let id = run_id(&said.stderr).to_owned();
    assert!(said.stderr.contains(&format!("\n  agentd approve {id} t1c1\n")), "{}", said.stderr);
    assert!(said.stderr.ends_with(&format!("\nresume with: agentd resume {id}\n")), "{}", said.stderr);
    assert!(!world.path("notes/b.txt").exists());

    let again = world.agentd(&["resume", &id]);
    assert_eq!(again.code, 3, "still nobody has answered: {again:#?}");
    let shown = world.agentd(&["runs", "show", &id]).stdout;
    let whole =
        "t1c1 waits for approval of files.write:\n  {\n    \"path\": \"b.txt\",\n    \"content\": \"new\"\n  }\n";
    assert!(shown.ends_with(whole), "{shown}");
    let approved = world.agentd(&["approve", &id, "--json"]);
    assert_eq!((approved.code, &approved.json()["waiting"]), (0, &json!([])), "{approved:#?}");
    assert!(!world.path("notes/b.txt").exists(), "only resume drives");
    let resumed = world.agentd(&["resume", &id]);
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "Written.\n"), "{resumed:#?}");
    assert_eq!(fs::read_to_string(world.path("notes/b.txt")).unwrap(), "new");
    let twice = world.agentd(&["approve", &id]);
    assert_eq!((twice.code, twice.stderr.as_str()), (0, "t1c1 allowed already\n"), "{twice:#?}");
}

#[test]
fn a_denied_call_is_told_to_the_model() {
    let world = World::new(AGENT, WRITES);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go", "--json"]).json()["waiting"][0]["tool"], "files.write");
    assert_eq!(world.agentd(&["deny", "@last", "t1c1", "--reason", "not today"]).code, 0);
    let resumed = world.agentd(&["resume", "@last"]);
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "I was not allowed to.\n"), "{resumed:#?}");
    assert!(!world.path("notes/b.txt").exists());
}

#[test]
fn yes_allows_what_would_ask() {
    let world = World::new(AGENT, WRITES);
    let said = world.agentd(&["run", "agent.yaml", "go", "--yes"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "Written.\n"), "{said:#?}");
}

#[test]
fn what_is_not_there_exits_8() {
    let world = World::new(AGENT, READS);
    for args in [
        &["resume", "0199"][..],
        &["approve", "@last"],
        &["cancel", "0199c2d4-7f60-7a10-8000-000000000000"],
        &["runs", "show", "nothing"],
        &["run", "missing.yaml", "go"],
        &["run", "missing", "go"],
    ] {
        let said = world.agentd(&[args, &["--json"]].concat());
        assert_eq!((said.code, &said.json()["error"]["code"]), (8, &json!("not_found")), "{args:?} {said:#?}");
        assert!(said.stderr.starts_with("error: "), "{said:#?}");
    }
}

#[test]
fn a_wrong_file_or_command_line_exits_2() {
    let world = World::new("version: 1\nname: notes\nmodle: demo/any\n", READS);
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (2, &json!("invalid_file")), "{said:#?}");
    assert!(said.stderr.contains("agent.yaml:3:1: "), "{said:#?}");

    let world = World::new(AGENT, READS);
    let model = world.agentd(&["run", "agent.yaml", "go", "--model", "nobody/any", "--json"]);
    assert_eq!((model.code, &model.json()["error"]["code"]), (2, &json!("unknown_model")), "{model:#?}");
    let flag = world.agentd(&["run", "agent.yaml", "go", "--no-such-flag", "--json"]);
    assert_eq!((flag.code, &flag.json()["error"]["code"]), (2, &json!("usage")), "{flag:#?}");
    let nothing = world.agentd(&["run", "agent.yaml"]);
    assert_eq!(nothing.code, 2, "no prompt: {nothing:#?}");
    assert_eq!(world.agentd(&["runs", "--json"]).json(), json!({"runs": []}), "nothing of this started a run");
}

/// What `check` says of an agent file that says nothing of repairs.
const REPAIRS: &str = "  repairs: read unique, idempotent unique, write lossless (unique where the server says that nothing is destroyed), \
    destructive lossless\n";

#[test]
fn check_tells_everything_that_is_wrong() {
    let world = World::new(AGENT, READS);
    let good = world.agentd(&["check", "agent.yaml"]);
    assert_eq!(
        (good.code, good.stdout.as_str(), good.stderr.as_str()),
        (0, &*format!("agent.yaml: ok\n{REPAIRS}"), ""),
        "{good:#?}"
    );

    world.write("bad.yaml", "version: 1\nname: Bad Name\nmodle: demo/any\n");
    world.write("lost.yaml", "version: 1\nname: lost\nmodel: nobody/any\n");
    let bad = world.agentd(&["check", "agent.yaml", "bad.yaml", "lost.yaml", "none.yaml"]);
    assert_eq!((bad.code, bad.stdout), (2, format!("agent.yaml: ok\n{REPAIRS}")), "{:?}", bad.stderr);
    insta::assert_snapshot!(bad.stderr);
    let json = world.agentd(&["check", "bad.yaml", "--json"]);
    assert_eq!(json.code, 2);
    insta::assert_json_snapshot!(json.json());
    assert!(!world.path("home").exists(), "check starts nothing");
}

#[test]
fn check_passes_over_what_is_no_agent() {
    let world = World::new(AGENT, READS);
    let all = world.agentd(&["check", "agent.yaml", "agentd.yaml", "script.yaml"]);
    let told =
        format!("agent.yaml: ok\n{REPAIRS}agentd.yaml: settings, not an agent\nscript.yaml: a script, not an agent\n");
    assert_eq!((all.code, all.stdout, &*all.stderr), (0, told, ""));
    let none = world.agentd(&["check", "script.yaml", "--json"]);
    let file = json!({"file": "script.yaml", "ok": true, "kind": "script", "problems": []});
    assert_eq!((none.code, none.json()), (2, json!({"ok": false, "settings": null, "files": [file]})));
    assert!(none.stderr.contains("none of these is an agent"), "{none:#?}");
    let run = world.agentd(&["run", "script.yaml", "go"]);
    assert_eq!((run.code, &*run.stderr), (2, "error: script.yaml: a script, not an agent\n"));
}

#[test]
fn check_tells_how_far_repairs_go() {
    let world = World::new(AGENT, READS);
    let more = "repair: {policy: {read: off}}\npolicy: {\"files.write\": {repair: unique}}\n";
    world.write("agent.yaml", &format!("{AGENT}{more}"));
    let good = world.agentd(&["check", "agent.yaml"]);
    let repairs = REPAIRS
        .replace("read unique", "read off")
        .replace("destructive lossless", "destructive lossless, files.write unique");
    assert_eq!((good.code, good.stdout), (0, format!("agent.yaml: ok\n{repairs}")));
}

#[test]
fn a_mended_call_runs_and_the_journal_tells_what_was_mended() {
    let script = r#"
answers:
  - {calls: [{name: files__read, raw: "{'path': \"a.txt\",}"}]}
  - {text: It says hello.}
"#;
    let world = World::new(AGENT, script);
    let done = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((done.code, &done.json()["repairs"]), (0, &json!(3)), "{done:#?}");
    let told = world.agentd(&["runs", "show", "@last"]).stdout;
    for line in ["~ files.read quotes: ' -> \"", "~ files.read extra_comma at /path: , -> ", ", 3 repairs"] {
        assert!(told.contains(line), "{line}: {told}");
    }
    // Where repairs are off, the model is asked again.
    world.write("agent.yaml", &format!("{AGENT}repair: {{policy: {{read: off}}}}\n"));
    let refused = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((refused.code, &refused.json()["repairs"]), (0, &json!(0)), "{refused:#?}");
}

#[test]
fn a_final_answer_is_mended_as_a_read_is_and_the_router_hears_of_it() {
    let agent = format!(
        "{AGENT}output: {{type: object, properties: {{severity: {{enum: [low, high]}}}}, required: [severity]}}\n"
    );
    for (answer, repairs, told) in [
        ("{calls: [{name: final_answer, arguments: {severity: low}}]}", 0, ""),
        ("{calls: [{name: Final-Answer, raw: \"{'severity': 'Low',}\"}]}", 5, "~ the final answer quotes"),
        (
            "{text: '{\"name\": \"final_answer\", \"arguments\": {\"severity\": \"low\"}}'}",
            1,
            "~ the final answer json",
        ),
    ] {
        let world = World::new(&agent, &format!("answers: [{answer}]"));
        let report = world.agentd(&["run", "agent.yaml", "go", "--json"]).json();
        assert_eq!((&report["output"], &report["attempts"]), (&json!({"severity": "low"}), &json!(1)), "{report:#}");
        let shown = world.agentd(&["runs", "show", "@last"]).stdout;
        assert!(report["repairs"].as_u64() >= Some(repairs) && shown.contains(told), "{report:#} {shown}");
        let memory: Value = serde_json::from_str(&fs::read_to_string(world.path("home/router.json")).unwrap()).unwrap();
        let counted = memory["endpoints"]["demo/any"]["tools"].as_object().unwrap().values().next().unwrap().clone();
        assert_eq!(counted, if repairs == 0 { json!([1.0, 0.0]) } else { json!([0.0, 1.0]) }, "{memory:#}");
    }
}

/// What the server hears when a call is asked for again: whether tools are strict, and which choice, in each request.
#[test]
fn a_call_is_asked_for_again_held_to_its_schema_where_the_server_can_and_else_forced() {
    let forced = json!({"type": "function", "function": {"name": "files__write"}});
    for (strict, refuses, asked, told) in [
        ("", false, vec![(false, json!(null)), (false, forced.clone()), (false, json!(null))], "made to call"),
        (", strict: asked", false, vec![(true, json!(null)), (false, json!(null))], "held to the schemas"),
        // Who knows no strict tools after all is asked as the others are.
        (
            ", strict: asked",
            true,
            vec![(true, json!(null)), (false, forced.clone()), (false, json!(null))],
            "made to call",
        ),
        (
            ", strict: auto",
            false,
            vec![(true, json!(null)), (true, json!(null)), (true, json!(null))],
            "held to the schemas",
        ),
    ] {
        let is_strict = |request: &Request| request.bytes.windows(13).any(|it| it == b"\"strict\":true");
        let model = Model::answering(move |request| match request.answers() {
            _ if refuses && is_strict(request) => Reply::error(400, "unknown member: strict", "invalid_request_error"),
            0 => Reply::raw_call("files__write", r#"{"path": b.txt, "content": "new"}"#),
            1 => Reply::call("files__write", json!({"path": "b.txt", "content": "new"})),
            _ => Reply::text("Written."),
        });
        let agent = format!("{AGENT}policy: {{files.write: {{approve: allow}}}}\n").replace("demo/any", "far/m");
        let world = World::new(&agent, READS);
        let url = model.base_url();
        let settings =
            format!("version: 1\nproviders: {{far: {{dialect: openai-chat, base_url: \"{url}\"{strict}}}}}\n");
        world.write("agentd.yaml", &settings);
        let said = world.agentd(&["run", "agent.yaml", "go"]);
        assert_eq!((said.code, said.stdout.as_str()), (0, "Written.\n"), "{said:#?}");
        let heard: Vec<(bool, Value)> = model
            .requests()
            .iter()
            .map(|request| {
                let tools = request.body["tools"].as_array().unwrap();
                let strict = tools.iter().any(|tool| tool["function"]["strict"] == true);
                (strict, request.body["tool_choice"].clone())
            })
            .collect();
        let shown = world.agentd(&["runs", "show", "@last"]).stdout;
        assert_eq!(
            (&heard[heard.len() - asked.len()..], shown.contains(told)),
            (&asked[..], true),
            "{strict}: {heard:?} {shown}"
        );
        model.assert_valid();
    }
}

/// Never writes its call properly, whatever it is told, and then says how it went.
const MUMBLES: &str = r#"
answers:
  - {calls: [{name: files__write, raw: '{"path": b.txt, "content": "new"}'}]}
  - {calls: [{name: files__write, raw: '{"path": b.txt, "content": "new" }'}]}
  - {calls: [{name: files__write, raw: '{"path": b.txt, "content": "new"}'}]}
  - either:
      - {when: {error: true}, text: I was not allowed to.}
      - {text: Written.}
"#;

#[test]
fn what_is_mended_beyond_its_policy_waits_for_a_person_when_asking_again_did_not_help() {
    // The policies that let calls run without asking are about calls as models make them.
    let allowing = format!("{AGENT}policy: {{files.write: {{approve: allow}}}}\n");
    for (agent, flags) in [(AGENT, &[][..]), (AGENT, &["--yes"]), (&allowing, &[])] {
        let world = World::new(agent, MUMBLES);
        let said = world.agentd(&[&["run", "agent.yaml", "go", "--json"], flags].concat());
        assert_eq!((said.code, &said.json()["turns"], &said.json()["repairs"]), (3, &json!(1), &json!(0)), "{said:#?}");
        let waiting = &said.json()["waiting"][0];
        assert_eq!(waiting["arguments"], json!({"path": "b.txt", "content": "new"}));
        assert_eq!(waiting["written"], r#"{"path": b.txt, "content": "new"}"#);
        assert_eq!((&waiting["repairs"][0]["path"], &waiting["repairs"][0]["risk"]), (&json!("/path"), &json!("B")));
        assert!(said.stderr.contains("\n  ~ bare_text at /path:  -> \"\n"), "{said:#?}");
        assert!(!world.path("notes/b.txt").exists());
        assert_eq!(world.agentd(&[&["resume", "@last"], flags].concat()).code, 3, "nobody has answered yet");

        let resumed = match flags {
            [] => {
                assert_eq!(world.agentd(&["approve", "@last"]).code, 0);
                world.agentd(&["resume", "@last", "--json"])
            }
            _ => {
                assert_eq!(world.agentd(&["deny", "@last"]).code, 0);
                world.agentd(&["resume", "@last", "--json"])
            }
        };
        let (output, repairs, text) = match flags {
            [] => ("Written.", 2, Some("new".to_owned())),
            _ => ("I was not allowed to.", 0, None),
        };
        let report = resumed.json();
        assert_eq!((&report["output"], &report["repairs"]), (&json!(output), &json!(repairs)), "{resumed:#?}");
        assert_eq!(fs::read_to_string(world.path("notes/b.txt")).ok(), text);
        let shown = world.agentd(&["runs", "show", "@last"]).stdout;
        assert!(shown.contains("needs approval: it was mended beyond the policy of its tool"), "{shown}");
    }
    // Where the tool is refused, or repairs are off, nobody is asked.
    let denied = World::new(&format!("{AGENT}policy: {{files.write: {{approve: deny}}}}\n"), MUMBLES);
    assert_eq!(denied.agentd(&["run", "agent.yaml", "go"]).code, 0, "the model was told, and went on");
    assert!(denied.agentd(&["runs", "show", "@last"]).stdout.contains("refuses files.write"));
    let off = World::new(&format!("{AGENT}repair: {{policy: {{write: off, destructive: off}}}}\n"), MUMBLES);
    assert_eq!(off.agentd(&["run", "agent.yaml", "go", "--json"]).json()["error"]["code"], "calls_rejected");
}

#[test]
fn calls_are_repaired_by_hand_and_in_batches() {
    let world = World::new(AGENT, READS);
    let schema = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
    let read = json!({"name": "read", "inputSchema": schema, "annotations": {"readOnlyHint": true}});
    let write = json!({"name": "write", "inputSchema": schema});
    world.write("tools.json", &json!({"tools": [read, write]}).to_string());
    world.write("call.json", &json!({"name": "Read", "arguments": "{path: a}"}).to_string());
    let said = world.agentd(&["repair", "call.json", "--tools", "tools.json"]);
    let expected = "\
repaired
~ name: name_spelling (B): Read -> read
~ syntax: key_quotes (A):  -> \"
~ syntax: key_quotes (A):  -> \"
~ syntax: bare_text at /path (B):  -> \"
~ syntax: bare_text at /path (B):  -> \"
read {\"path\": \"a\"}
";
    assert_eq!((said.code, said.stdout.as_str()), (0, expected), "{said:#?}");
    world.write("arguments.txt", "{\"path\": \"a");
    let cut = world.agentd(&["repair", "arguments.txt", "--tool", "read", "--tools", "tools.json", "--json"]);
    assert_eq!((cut.code, &cut.json()["diagnosis"]["class"]), (1, &json!("truncated")), "{cut:#?}");

    let case = |id: u32, name: &str, arguments: &str| {
        json!({"id": id, "tools": [read, write], "call": {"name": name, "arguments": arguments}}).to_string()
    };
    let call = r#"<tool_call>{"name": "read", "arguments": {"path": "a"}}</tool_call>"#;
    let cases = [
        case(1, "read", r#"{"path": "a"}"#),
        case(2, "write", r#"{"path": "a",}"#),
        case(3, "write", r#"{"path": a}"#),
        json!({"id": 4, "tools": [read], "text": "Nothing to do."}).to_string(),
        json!({"id": 5, "tools": [read], "text": call, "family": "qwen3"}).to_string(),
        json!({"id": 6, "tools": [read], "text": call, "family": "gpt-5"}).to_string(),
        json!({"id": 7, "tools": [read], "text": call[..30], "finish_reason": "length"}).to_string(),
        "{".to_owned(),
    ];
    world.write("cases.jsonl", &cases.join("\n"));
    let outcomes = |args: &[&str]| -> Vec<Value> {
        let said = world.agentd(&[&["repair", "--batch", "cases.jsonl", "--json"], args].concat());
        assert_eq!(said.code, 0, "{said:#?}");
        said.lines()
            .into_iter()
            .map(|line| json!([line["id"], line["outcome"], line["calls"][0]["arguments"]]))
            .collect()
    };
    assert_eq!(
        outcomes(&[]),
        [
            json!([1, "exact", r#"{"path": "a"}"#]),
            json!([2, "repaired", r#"{"path": "a"}"#]),
            json!([3, "ask_again", null]),
            json!([4, "no_call", null]),
            json!([5, "repaired", r#"{"path": "a"}"#]),
            json!([6, "ask_again", null]),
            json!([7, "ask_again", null]),
            json!([null, null, null]),
        ]
    );
    assert_eq!(outcomes(&["--policy", "unique"])[2], json!([3, "repaired", r#"{"path": "a"}"#]));
    assert_eq!(outcomes(&["--policy", "off"])[1], json!([2, "ask_again", null]));
}

#[test]
fn a_held_store_exits_9_and_names_the_process() {
    let world = World::new(AGENT, "answers: [{delay: 120s, text: late}]");
    // A store of one place, without slots.
    let settings = fs::read_to_string(world.path("agentd.yaml")).unwrap();
    world.write("agentd.yaml", &format!("{settings}store: sled:one\n"));
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
    running.until("model_asked");
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (9, &json!("store_locked")), "{said:#?}");
    let pid = running.child.id();
    assert!(
        said.stderr.contains(&format!("process {pid}")) && said.stderr.contains(&format!("kill {pid}")),
        "{said:#?}"
    );
    running.signal(Signal::TERM);
    let (code, stderr) = running.end();
    assert_eq!(code, 143, "{stderr}");
}

#[test]
fn ctrl_c_lets_the_run_go_and_it_can_be_resumed() {
    let world = World::new(AGENT, "answers: [{delay: 120s, text: late}]");
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
    running.until("model_asked");
    running.signal(Signal::INT);
    let (code, stderr) = running.end();
    assert_eq!(code, 130, "{stderr}");
    let id = run_id(&stderr);
    assert!(stderr.ends_with(&format!("resume with: agentd resume {id}\n")), "{stderr}");
    let listed = world.agentd(&["runs", "ls", "--json"]).json();
    assert_eq!(listed["runs"][0]["status"], "interrupted");
    assert_eq!(world.show()["status"], "interrupted");
    let shown = world.agentd(&["runs", "show", id]).stdout;
    assert!(shown.contains(" · interrupted · "), "{shown}");
    assert!(shown.ends_with(&format!("\nresume with: agentd resume {id}\n")), "{shown}");

    world.write("script.yaml", "version: 1\nanswers: [{text: in time}]\n");
    let resumed = world.agentd(&["resume", id]);
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "in time\n"), "{resumed:#?}");
    let shown = world.agentd(&["runs", "show", id]).stdout;
    assert!(shown.ends_with("\n\nin time\n"), "{shown}");
}

#[test]
fn a_closed_terminal_lets_the_run_go_unless_that_is_ignored() {
    let world = World::new(AGENT, "answers: [{delay: 120s, text: late}]");
    for (hangup, ends_with) in [("--default-signal=HUP", 143), ("--ignore-signal=HUP", 130)] {
        let agentd = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
        let mut command = Command::new("env");
        command.arg(hangup).arg(agentd.get_program()).args(agentd.get_args());
        for (name, value) in agentd.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(agentd.get_current_dir().unwrap());
        let mut running = Running::start(command);
        running.until("model_asked");
        running.signal(Signal::HUP);
        if ends_with == 130 {
            running.signal(Signal::INT);
        }
        let (code, stderr) = running.end();
        assert_eq!(code, ends_with, "{hangup}: {stderr}");
        assert!(stderr.contains("resume with: agentd resume "), "{hangup}: {stderr}");
    }
}

#[test]
fn the_second_ctrl_c_does_not_wait_for_a_tool() {
    let world = World::slow("put");
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--yes", "--stream-json"]));
    running.until("tool_started");
    running.signal(Signal::INT);
    running.hears("stopping");
    running.signal(Signal::INT);
    let (code, stderr) = running.end();
    assert_eq!(code, 130, "{stderr}");
    let shown = world.show();
    let last = shown["entries"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["type"], &last["data"]["call"]), (&json!("call_lost"), &json!("t1c1")), "{shown:#}");
}

#[test]
fn resume_all_takes_up_what_was_interrupted() {
    let world = World::new(AGENT, "answers: [{delay: 120s, text: late}]");
    for _ in 0..2 {
        let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
        running.until("model_asked");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }
    world.write("script.yaml", "version: 1\nanswers: [{text: in time}]\n");
    let said = world.agentd(&["resume", "--all", "--json"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let runs = said.json()["runs"].clone();
    let outputs: Vec<&Value> = runs.as_array().unwrap().iter().map(|run| &run["output"]).collect();
    assert_eq!(outputs, ["in time", "in time"]);
    assert_eq!(world.agentd(&["resume", "--all", "--json"]).json(), json!({"runs": []}));
}

#[test]
fn a_provider_that_cannot_be_reached_exits_4() {
    let world = World::new(AGENT, "answers: [{fail: {status: 429, retry_after: 600s}}]");
    let said = world.agentd(&["run", "agent.yaml", "go", "--no-wait", "--json"]);
    assert_eq!((said.code, &said.json()["waiting"][0]["code"]), (4, &json!("rate_limited")), "{said:#?}");
    assert!(said.stderr.contains("waits for provider"), "{said:#?}");

    world.write("script.yaml", "version: 1\nanswers: [{fail: {status: 401}}]\n");
    let refused = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((refused.code, &refused.json()["waiting"][0]["code"]), (4, &json!("credential")), "{refused:#?}");
    world.write("script.yaml", "version: 1\nanswers: [{text: at last}]\n");
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "at last\n");
}

#[test]
fn a_limit_exits_6_and_a_higher_one_goes_on() {
    let world = World::new(AGENT, READS);
    let said = world.agentd(&["run", "agent.yaml", "go", "--max-turns", "1", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (6, &json!("exhausted_turns")), "{said:#?}");
    assert!(said.stderr.contains("--max-turns"), "{said:#?}");
    assert_eq!(world.agentd(&["resume", "@last"]).code, 2, "without a higher limit");
    let resumed = world.agentd(&["resume", "@last", "--max-turns", "5"]);
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "It says hello.\n"), "{resumed:#?}");
}

#[test]
fn an_output_that_does_not_fit_exits_7() {
    let agent = format!("{AGENT}output: {{type: object, properties: {{n: {{type: integer}}}}, required: [n]}}\n");
    let world = World::new(&agent, "answers: [{text: no number, repeat: true}]");
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (7, &json!("output_mismatch")), "{said:#?}");

    world.write("script.yaml", "version: 1\nanswers: [{text: '{\"n\": 7}'}]\n");
    let typed = world.agentd(&["run", "agent.yaml", "go"]);
    assert_eq!((typed.code, typed.stdout.as_str()), (0, "{\"n\": 7}\n"), "{typed:#?}");
}

#[test]
fn a_required_server_that_does_not_start_exits_5() {
    let agent = "version: 1\nname: notes\nmodel: demo/any\nservers: {gone: {command: /nonexistent/server}}\n";
    let world = World::new(agent, READS);
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (5, &json!("tools")), "{said:#?}");
    let id = run_id(&said.stderr);
    assert_eq!(said.json()["run"], id);
    assert!(said.stderr.ends_with(&format!("resume with: agentd resume {id}\n")), "{said:#?}");
}

#[test]
fn a_cancelled_run_stays_cancelled() {
    let world = World::new(AGENT, WRITES);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let said = world.agentd(&["cancel", "@last", "--json"]);
    assert_eq!((said.code, &said.json()["status"]), (0, &json!("cancelled")), "{said:#?}");
    assert_eq!(world.agentd(&["resume", "@last"]).code, 2);
    assert_eq!(world.agentd(&["cancel", "@last"]).code, 2);
}

#[test]
fn a_doubt_is_resolved_by_a_person() {
    let world = World::slow("wipe");
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--yes", "--stream-json"]));
    running.until("tool_started");
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let asked = world.agentd(&["resume", "@last", "--json"]);
    assert_eq!((asked.code, &asked.json()["waiting"][0]["kind"]), (3, &json!("doubt")), "{asked:#?}");
    let mistyped = world.agentd(&["resolve", "@last", "t1c1", "--happened", "{\"wiped\": 17"]);
    assert_eq!(mistyped.code, 2, "{mistyped:#?}");
    let resolved = world.agentd(&["resolve", "@last", "t1c1", "--happened", "\"wiped\""]);
    assert_eq!(resolved.code, 0, "{resolved:#?}");
    let resumed = world.agentd(&["resume", "@last"]);
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "done\n"), "{resumed:#?}");
}

#[test]
fn nobody_is_asked_about_a_call_while_its_server_outlives_its_guard() {
    let world = World::slow("wipe");
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--yes", "--stream-json"]));
    running.until("tool_started");
    // A server that has not read its call yet ends when its input does.
    while !world.path("got").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Killed together, so that neither can end the server. A signal takes a while to stop all threads.
    running.signal(Signal::STOP);
    let stopped = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    };
    while !fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap().flatten().all(stopped) {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let log = fs::read_to_string(world.path("effects.log")).unwrap();
    let server: i32 = log.strip_prefix("start ").unwrap().trim().parse().unwrap();
    let server = Pid::from_raw(server).unwrap();
    let guard = fs::read_to_string(format!("/proc/{}/stat", server.as_raw_pid())).unwrap();
    let guard: i32 = guard.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(guard).unwrap(), Signal::KILL).unwrap();
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let mut resumed = Running::start(world.command(&["resume", "@last", "--stream-json"]));
    resumed.until("claimed");
    // Long enough for a question that is asked at once.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(resumed.child.try_wait().unwrap(), None, "it waits, and asks nobody");
    rustix::process::test_kill_process(server).unwrap();
    kill_process(server, Signal::KILL).unwrap();
    resumed.until("call_lost");
    assert_eq!(resumed.end().0, 3);
    assert_eq!(world.agentd(&["resume", "@last", "--json"]).json()["waiting"][0]["kind"], "doubt");
}

#[test]
fn a_done_run_goes_on_with_a_prompt() {
    let world = World::new(AGENT, "answers: [{text: first}, {text: second}]");
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).stdout, "first\n");
    assert_eq!(world.agentd(&["resume", "@last"]).code, 2);
    assert_eq!(world.agentd(&["resume", "@last", "and now?"]).stdout, "second\n");
}

#[test]
fn typed_input_is_read_from_pairs() {
    let agent = "
version: 1
name: typed
model: demo/any
instructions: Sort {{ input.count }} tickets of {{ input.product }}.
input: {type: object, properties: {count: {type: integer}, product: {type: string}}, required: [count, product]}
";
    let world = World::new(agent, "answers: [{text: sorted}]");
    let said = world.agentd(&["run", "agent.yaml", "--input", "count=7", "--input", "product=12"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "sorted\n"), "{said:#?}");
    assert_eq!(world.show()["entries"][0]["data"]["instructions"]["text"], "Sort 7 tickets of 12.");
    let wrong = world.agentd(&["run", "agent.yaml", "--input", "count=many", "--input", "product=12"]);
    assert_eq!(wrong.code, 2, "{wrong:#?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new(AGENT, READS);
    let mut command = world.command(&["run", "agent.yaml", "go", "--stream-json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(world.show()["status"], "done");
}

#[test]
fn runs_are_listed_and_told() {
    let world = World::new(AGENT, READS);
    let id = run_id(&world.agentd(&["run", "agent.yaml", "go"]).stderr).to_owned();
    let listed = world.agentd(&["runs"]);
    let row = listed.stdout.lines().nth(1).unwrap();
    let short = row.split_whitespace().next().unwrap();
    assert!(id.starts_with(short) && row.contains("done") && row.contains("notes"), "{listed:#?}");
    let shown = world.agentd(&["runs", "show", short]);
    assert_eq!(shown.code, 0);
    for told in ["started", "files.read {\"path\":\"a.txt\"}", "turn 2: final answer", "done"] {
        assert!(shown.stdout.contains(told), "{told:?} is missing: {}", shown.stdout);
    }
}

#[test]
fn a_story_tells_what_the_model_said_between_its_calls() {
    let script = format!(
        "answers:
  - text: \"First I look.\\n{}\\e[2J\\nThen I write.\"
    calls: [{{name: files__read, arguments: {{path: a.txt}}}}]
  - {{text: It says hello.}}
  - {{text: You are welcome.}}
",
        "Looking is what I do. ".repeat(12)
    );
    let world = World::new(AGENT, &script);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 0);
    assert_eq!(world.agentd(&["resume", "@last", "Thanks."]).code, 0);
    let said = |args: &[&str]| {
        let shown = world.agentd(args).stdout;
        let lines: Vec<_> = shown.lines().map(str::to_owned).collect();
        let at = lines.iter().position(|line| line.contains(" » First I look.")).expect(&shown);
        assert!(lines.iter().any(|line| line.ends_with(" » It says hello.")), "{shown}");
        // The answer that ended it stands at the end, and only there.
        assert_eq!((shown.matches("You are welcome.").count(), &**lines.last().unwrap()), (1, "You are welcome."));
        lines[at..at + 3].to_vec()
    };
    let brief = said(&["runs", "show", "@last"]);
    assert!(brief[0].ends_with('…') && brief[1].contains("files.read"), "{brief:#?}");
    let whole = said(&["runs", "show", "@last", "-v"]);
    let margin = " ".repeat(16);
    assert!(whole[1].starts_with(&format!("{margin}Looking")) && whole[1].ends_with("\\u{1b}[2J"), "{whole:#?}");
    assert_eq!(whole[2], format!("{margin}Then I write."));
}

#[test]
fn models_are_listed_with_what_keeps_them_from_being_asked() {
    let model = Model::replying([]);
    model.lists([json!({"id": "qwen3:8b", "object": "model"}), json!({"id": "big", "max_model_len": 40960})]);
    model.require_key("right");
    let world = World::new(AGENT, READS);
    let (near, gone) = (model.base_url(), nobody());
    let wrong = near.clone();
    world.write(
        "agentd.yaml",
        &format!(
            "version: 1
providers:
  demo: {{dialect: scripted, script: ./script.yaml}}
  near: {{dialect: openai-chat, base_url: \"{near}\", key: right}}
  shut: {{dialect: openai-chat, base_url: \"{wrong}\", key: wrong}}
  ollama: {{base_url: \"{gone}\"}}
  groq: {{timeouts: {{total: 1m}}}}
prices: {{near/qwen3:8b: {{input: 0, output: 0}}, openai/gpt-5: {{input: 1, output: 2}}}}
"
        ),
    );
    let list = |json: &[&str]| {
        let mut command = world.command(&[&["models"], json].concat());
        let output = command.env("OPENAI_API_KEY", "sk-canary").env_remove("AZURE_OPENAI_RESOURCE").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let document: Value = serde_json::from_str(&list(&["--json"])).unwrap();
    let provider = |name: &str| {
        let all = document["providers"].as_array().unwrap();
        all.iter().find(|provider| provider["provider"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let models = |name: &str| -> Vec<(String, Value)> {
        let models = provider(name)["models"].as_array().unwrap().clone();
        models
            .iter()
            .map(|model| (model["model"].as_str().unwrap().to_owned(), model["window_tokens"].clone()))
            .collect()
    };
    let state = |name: &str| (provider(name)["usable"].clone(), provider(name)["why_not"].clone());
    assert_eq!(state("near"), (json!(true), Value::Null));
    assert_eq!(models("near"), [("near/qwen3:8b".to_owned(), Value::Null), ("near/big".to_owned(), json!(40960))]);
    assert_eq!(provider("near")["models"][0]["usd_per_million"]["input"], 0.0);
    assert_eq!(provider("near")["models"][1]["usd_per_million"], Value::Null, "unknown stays unknown");
    assert_eq!(state("shut").0, false);
    assert!(state("shut").1.as_str().unwrap().contains("Incorrect API key"), "{:?}", state("shut"));
    let address = gone.trim_start_matches("http://").trim_end_matches("/v1");
    assert_eq!(state("ollama"), (json!(false), json!(format!("nothing listens on {address}"))));
    assert_eq!(state("groq"), (json!(false), json!("set GROQ_API_KEY")));
    assert_eq!(state("azure"), (json!(false), json!("set AZURE_OPENAI_API_KEY and AZURE_OPENAI_RESOURCE")));
    assert_eq!(state("openai").0, true);
    let gpt = provider("openai")["models"].as_array().unwrap().iter().find(|it| it["model"] == "openai/gpt-5").cloned();
    assert_eq!(
        gpt.unwrap()["usd_per_million"],
        json!({"input": 1.0, "cached": null, "cache_write": null, "output": 2.0})
    );
    assert_eq!((state("demo").0, provider("demo")["dialect"].clone()), (json!(true), json!("scripted")));

    let text = list(&[]);
    for told in
        ["near: usable", "groq (Groq): set GROQ_API_KEY", &format!("ollama (Ollama): nothing listens on {address}")]
    {
        assert!(text.contains(told), "{told:?} is missing: {text}");
    }
    assert!(!text.contains("sk-canary"));
    assert!(model.requests().iter().all(|request| request.method == "GET"), "nothing is asked of a model");
}

#[test]
fn a_misspelt_file_or_provider_is_guessed_and_a_beginner_is_told_how_to_begin() {
    let world = World::new(&AGENT.replace("demo/any", "opnai/gpt-5"), READS);
    let said = world.agentd(&["run", "agnt.yaml", "go"]);
    assert_eq!((said.code, said.stderr.ends_with("did you mean agent.yaml?\n")), (8, true), "{said:#?}");
    let said = world.agentd(&["check"]);
    let place = "agent.yaml:4:8: there is no provider \"opnai\"; did you mean \"openai\"?";
    assert!(said.code == 2 && said.stderr.contains(place), "{said:#?}");
    fs::remove_file(world.path("agent.yaml")).unwrap();
    let said = world.agentd(&["run"]);
    assert!(said.code == 2 && said.stderr.contains("agentd init"), "{said:#?}");
    let said = world.agentd(&["runs"]);
    let nothing = "there are no runs yet; agentd run starts one\n";
    assert_eq!((said.code, &*said.stdout, &*said.stderr), (0, "", nothing));
}

#[test]
fn what_happens_inside_is_told_to_who_asks_for_it() {
    let world = World::new(AGENT, READS);
    let logged = |args: &[&str], log: Option<&str>| {
        let mut command = world.command(&[&["run", "agent.yaml", "go"], args].concat());
        if let Some(log) = log {
            command.env("AGENTD_LOG", log);
        }
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"It says hello.\n"[..]), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(logged(&[], None).lines().count(), 1, "the name of the run");
    for told in [logged(&["-v"], None), logged(&[], Some("agentd=info"))] {
        for line in ["· 5 tools", "· turn 1: asked demo/any", "✓ files.read {\"path\":\"a.txt\"}", "✓ done"] {
            assert!(told.contains(line), "{line:?} is missing: {told}");
        }
    }
    assert_eq!(logged(&["-v"], Some("agentd=error")).lines().count(), 1, "the variable wins");
}

#[test]
fn stats_tell_of_questions_ends_and_one_agent() {
    let world = World::new(AGENT, WRITES);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["deny", "@last"]).code, 0);
    assert_eq!(world.agentd(&["resume", "@last"]).code, 0);
    world.write("other.yaml", &AGENT.replace("name: notes", "name: other"));
    world.write("script.yaml", "version: 1\nanswers: [{delay: 120s, text: late}]\n");
    let mut running = Running::start(world.command(&["run", "other.yaml", "go", "--stream-json"]));
    running.until("model_asked");
    // Another process works in its slot, and its run counts too.
    let all = world.agentd(&["stats", "--json"]).json();
    assert_eq!(all["runs"], 2, "{all:#}");
    let stats = world.agentd(&["stats", "--agent", "notes", "--json"]).json();
    assert_eq!((&stats["runs"], &stats["agents"][0]["runs"]), (&json!(1), &json!({"done": 1})), "{stats:#}");
    let asked = &stats["approvals"][0];
    let counts = ["asked", "allowed", "edited", "denied"].map(|name| asked[name].as_u64().unwrap());
    assert_eq!((&asked["tool"], counts), (&json!("files.write"), [1, 0, 0, 1]), "{stats:#}");
    assert_eq!(asked["by"].as_object().unwrap().values().collect::<Vec<_>>(), [&json!(1)]);
    let told = world.agentd(&["stats", "approvals"]).stdout;
    assert!(told.starts_with("TOOL         ASKED  ALLOWED"), "{told}");
    let other = world.agentd(&["stats", "--agent", "other"]).stdout;
    assert!(other.starts_with("1 run of other · 0 answers"), "{other}");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, 143);
}

#[test]
fn a_provider_without_its_key_says_which_it_wants() {
    let world = World::new(&AGENT.replace("demo/any", "groq/any"), READS);
    let said = world.agentd(&["run", "agent.yaml", "go", "--json"]);
    assert_eq!((said.code, &said.json()["error"]["code"]), (2, &json!("unknown_model")), "{said:#?}");
    assert!(said.stderr.contains("groq/any cannot be used: set GROQ_API_KEY"), "{said:#?}");
}

#[test]
fn the_version_is_told() {
    let world = World::new(AGENT, READS);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(world.agentd(&["version"]).stdout, format!("agentd {version}\n"));
    assert_eq!(world.agentd(&["version", "--json"]).json()["version"], version);
    assert_eq!(world.agentd(&["--version"]).stdout, format!("agentd {version}\n"));
}
