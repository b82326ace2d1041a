//! What comes in from outside ends no process, decides nothing that nobody decided, and keeps nobody waiting without a word.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    cli::{Running, Said, World},
    terminal::Terminal,
};

/// A world whose model makes these calls, one in each answer, and says "done" then.
fn calls(agent: &str, calls: &[Value]) -> World {
    let mut answers: Vec<Value> = calls.iter().map(|call| json!({ "calls": [call] })).collect();
    answers.push(json!({"text": "done"}));
    World::new(agent, &format!("answers: {}", Value::from(answers)))
}

fn agent(more: &str) -> String {
    format!("version: 1\nname: notes\nmodel: demo/any\nservers: {{files: {{builtin: files, root: ./notes}}}}\n{more}\n")
}

fn search(arguments: Value) -> Value {
    json!({"name": "files__search", "arguments": arguments})
}

/// The texts of the results of tools, in order.
fn results(world: &World) -> Vec<String> {
    let shown = world.show();
    let finished = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["type"] == "tool_finished");
    finished.map(|entry| entry["data"]["content"].to_string()).collect()
}

#[test]
fn no_glob_pattern_or_path_of_a_model_ends_the_process() {
    let glob = |glob: String| search(json!({"pattern": "hello", "glob": glob}));
    let regex = |pattern: String| search(json!({"pattern": pattern, "regex": true}));
    let path = |path: String| json!({"name": "files__read", "arguments": {"path": path}});
    let hostile = [
        glob("{".repeat(8000) + &"}".repeat(8000)),
        glob("{a,".repeat(200) + "b" + &"}".repeat(200)),
        glob("[".repeat(8000)),
        glob("*".repeat(100_000)),
        glob("{a,b}".repeat(200)),
        regex("(".repeat(8000) + &")".repeat(8000)),
        regex("(?:a{0,1000}){0,1000}".to_owned()),
        regex("a|".repeat(100_000)),
        path("a/".repeat(100_000)),
        path("../".repeat(100_000)),
    ];
    let world = calls(&agent(""), &hostile);
    let said = world.agentd(&["run", "agent.yaml", "go"]);
    assert_eq!((said.code, said.stdout.as_str()), (0, "done\n"), "{said:#?}");
    let results = results(&world);
    assert_eq!(results.len(), hostile.len());
    assert!(results[0].contains("braces within each other") || results[0].contains("more than 1024"), "{}", results[0]);
    assert!(results[1].contains("braces within each other"), "{}", results[1]);
    assert!(results[8].contains("too long"), "{}", results[8]);
}

#[test]
fn no_agent_file_ends_the_process() {
    let long = |piece: &str, times: usize| piece.repeat(times);
    let when = |text: &str| agent(&format!("policy: {{files.read: {{approve: allow, when: {}}}}}", json!(text)));
    let template = |text: &str| agent(&format!("input: {{type: object}}\ninstructions: {}", json!(text)));
    let nested = |depth: usize| format!("{}1{}", long("{\"a\":", depth), long("}", depth));
    for (what, text) in [
        ("a condition of many terms", when(&format!("true{}", long(" and true", 50_000)))),
        ("a condition of many negations", when(&format!("{}true", long("not ", 50_000)))),
        ("a condition of many brackets", when(&long("(", 50_000))),
        ("a template of many terms", template(&format!("{{{{ 1{} }}}}", long(" + 1", 50_000)))),
        (
            "a template of many branches",
            template(&format!("{{% if 1 %}}{}{{% endif %}}", long("{% elif 1 %}", 20_000))),
        ),
        ("a template of many loops", template(&long("{% for a in input %}", 20_000))),
        ("a long pattern", agent(&format!("policy: {{\"files.{}\": {{approve: ask}}}}", long("*a", 50_000)))),
        ("a deep schema", agent(&format!("output: {}", nested(60)))),
        ("a deep list", agent(&format!("limits: {}", long("[", 100_000)))),
        ("a deep block", (0..400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect()),
        ("many faults", agent(&format!("limits: [{}]", long("*a, ", 200_000)))),
        ("many anchors", agent(&format!("limits: [{}]", long("&a b, ", 150_000)))),
        (
            "a pattern that explodes",
            agent("output: {type: object, properties: {a: {type: string, pattern: \"((a{0,999}){0,999}){0,999}\"}}}"),
        ),
    ] {
        let world = World::new(&text, "answers: [{text: done}]");
        let said = world.agentd(&["check", "agent.yaml"]);
        assert!(
            matches!(said.code, 0 | 2),
            "{what}: {} {}",
            said.code,
            said.stderr.chars().take(300).collect::<String>()
        );
    }
    let world = World::new(&when(&format!("true{}", long(" and true", 50_000))), "answers: [{text: done}]");
    let said = world.agentd(&["check", "agent.yaml"]);
    assert!(said.stderr.contains("at most 4096 are read"), "{}", said.stderr.chars().take(300).collect::<String>());
}

#[test]
fn no_schema_or_call_ends_the_process() {
    let deep = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    let schema = |open: &str, close: &str, times| format!("{}{{}}{}", open.repeat(times), close.repeat(times));
    let whole = |inner: String| format!("{{\"type\":\"object\",\"properties\":{{\"a\":{inner}}}}}");
    let chain =
        (0..5000).map(|n| format!("\"d{n}\":{{\"$ref\":\"#/$defs/d{}\"}}", n + 1)).collect::<Vec<_>>().join(",");
    let schemas = [
        whole("{}".to_owned()),
        whole(schema("{\"properties\":{\"a\":", "}}", 60)),
        whole(schema("{\"allOf\":[", "]}", 30)),
        whole(schema("{\"not\":", "}", 100)),
        whole(schema("{\"items\":", "}", 120)),
        whole("{\"$ref\":\"#/properties/a\"}".to_owned()),
        "{\"type\":\"object\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/n\"}},\"unevaluatedProperties\":false}},\"$ref\":\"#/$defs/n\"}".to_owned(),
        "{\"type\":\"object\",\"additionalProperties\":{\"$ref\":\"#\"}}".to_owned(),
        "{\"type\":\"object\",\"patternProperties\":{\"(a{0,999}){0,999}\":{\"$ref\":\"#\"}}}".to_owned(),
        format!("{{\"type\":\"object\",\"$ref\":\"#/$defs/d0\",\"$defs\":{{{chain}}}}}"),
    ];
    let calls = [
        deep("{\"a\":", "}", 60),
        deep("{\"a\":", "}", 10_000),
        deep("{\"a\":[", "]}", 10_000),
        "[".repeat(10_000),
        "{\"a\":\"".repeat(5000),
        "{a:".repeat(5000),
        "\\\"".repeat(5000),
    ];
    let texts = [
        "<tool_call>".repeat(1000),
        "<function=t><parameter=a>".repeat(1000),
        format!("<tool_call>{{\"name\":\"t\",\"arguments\":{}}}</tool_call>", deep("{\"a\":", "}", 5000)),
        format!("t({})", "[".repeat(5000)),
        format!("```json\n{}\n```", "[{".repeat(5000)),
        "[t(a=".repeat(2000),
    ];
    let mut cases = String::new();
    for (number, schema) in schemas.iter().enumerate() {
        let tool = format!("[{{\"name\":\"t\",\"inputSchema\":{schema}}}]");
        for (place, call) in calls.iter().enumerate() {
            let call = json!({"name": "t", "arguments": call});
            cases.push_str(&format!("{{\"id\":\"{number}.{place}\",\"tools\":{tool},\"call\":{call}}}\n"));
        }
        for (place, text) in texts.iter().enumerate().filter(|_| number == 0) {
            cases.push_str(&format!("{{\"id\":\"text {place}\",\"tools\":{tool},\"text\":{}}}\n", json!(text)));
        }
    }
    let world = World::new(&agent(""), "answers: [{text: done}]");
    world.write("cases.jsonl", &cases);
    let said = world.agentd(&["repair", "--batch", "cases.jsonl", "--json"]);
    assert!(matches!(said.code, 0..=2), "{} {}", said.code, said.stderr.chars().take(300).collect::<String>());
    assert_eq!(said.lines().len(), cases.lines().count(), "{}", said.stderr);
}

#[cfg(feature = "chaos")]
#[test]
fn a_panic_in_one_run_fails_that_run_alone() {
    let world = World::slow("put");
    let broken = |args: &[&str], at: &str| -> Said {
        let output = world.command(args).env("AGENTD_PANIC_AT", at).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    world.write("agent.yaml", &fs::read_to_string(world.path("agent.yaml")).unwrap().replace("30000", "0"));
    world.write("calm.yaml", "version: 1\nname: calm\nmodel: calm/any\n");
    world.write("calm-script.yaml", "version: 1\nanswers: [{text: calm}]\n");
    let settings = "version: 1\nproviders: {demo: {dialect: scripted, script: ./script.yaml}, calm: {dialect: scripted, script: ./calm-script.yaml}}\n";
    world.write("agentd.yaml", settings);
    let first = broken(&["run", "agent.yaml", "go", "--yes"], "tool.start");
    assert_eq!(first.code, 1, "{first:#?}");
    assert!(
        first.stderr.contains("agentd failed while it drove this run")
            && first.stderr.contains("resume with: agentd resume"),
        "{first:#?}"
    );
    // The other one is interrupted before it was ever answered.
    world.write("calm-script.yaml", "version: 1\nanswers: [{delay: 120s, text: late}]\n");
    let mut other = Running::start(world.command(&["run", "calm.yaml", "go", "--stream-json"]));
    other.until("model_asked");
    other.signal(Signal::KILL);
    other.child.wait().unwrap();
    world.write("calm-script.yaml", "version: 1\nanswers: [{text: calm}]\n");
    let all = broken(&["resume", "--all", "--yes", "--json"], "tool.start");
    assert_eq!(all.code, 1, "{all:#?}");
    let runs = all.json()["runs"].as_array().unwrap().clone();
    let told: Vec<_> =
        runs.iter().map(|run| run["error"]["code"].as_str().or(run["status"].as_str()).unwrap().to_owned()).collect();
    assert_eq!(told, ["internal", "done"], "{all:#?}");
    // In the task of a call, the call is lost and the run goes on.
    let lost = broken(&["resume", "--all", "--yes"], "tool.send");
    assert!(lost.stderr.contains("outcome unknown") || lost.code == 0, "{lost:#?}");
    assert_eq!(fs::read_to_string(world.path("effects.log")).unwrap_or_default().matches("put ").count(), 0);
}

/// An agent with the counter server and one more tool of this name, and the name that a model has for it.
fn named(name: &str, script: impl Fn(&str) -> String) -> World {
    let world = World::slow("put");
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
    let agent = json!({
        "version": 1, "name": "slow", "model": "demo/any",
        "servers": {"slow": {"command": "python3", "args": ["-S", server], "env": {"LOG": world.path("effects.log"), "EXTRA": name}}},
    });
    world.write("agent.yaml", &agent.to_string());
    let listed = world.agentd(&["tools", "ls", "agent.yaml", "--json"]).json();
    let tools = listed["tools"].as_array().unwrap();
    let tool = tools.iter().find(|tool| tool["tool"] == format!("slow.{name}"));
    let offered = tool.unwrap_or_else(|| panic!("{listed:#}"))["offered_as"].as_str().unwrap();
    world.write("script.yaml", &format!("version: 1\n{}", script(offered)));
    world
}

#[test]
fn a_word_for_the_run_is_about_the_tool_of_that_name_and_no_other() {
    let world = named("*", |star| {
        let answers = json!([
            {"calls": [{"name": star, "arguments": {"text": "one"}}]},
            {"calls": [{"name": star, "arguments": {"text": "two"}}]},
            {"calls": [{"name": "slow__wipe", "arguments": {"text": "all"}}]},
            {"text": "done"},
        ]);
        format!("answers: {answers}")
    });
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let written = world.agentd(&["approve", "@last", "--write"]);
    assert_eq!(written.code, 2, "{written:#?}");
    assert!(written.stderr.contains("no rule of the file can name it alone"), "{written:#?}");
    assert!(!fs::read_to_string(world.path("agent.yaml")).unwrap().contains("policy"));
    assert_eq!(world.agentd(&["approve", "@last", "t1c1", "--for-run"]).code, 0);
    let resumed = world.agentd(&["resume", "@last", "--json"]);
    assert_eq!((resumed.code, &resumed.json()["waiting"][0]["call"]), (3, &json!("t3c1")), "{resumed:#?}");
    let effects = fs::read_to_string(world.path("effects.log")).unwrap();
    assert_eq!((effects.matches("* ").count(), effects.matches("wipe ").count()), (2, 0), "{effects}");
}

fn write(path: &str, content: &str) -> Value {
    json!({"name": "files__write", "arguments": {"path": path, "content": content}})
}

#[test]
fn approve_prints_what_it_allows() {
    let world = calls(&agent(""), &[write("b.txt", "new")]);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let said = world.agentd(&["approve", "@last"]);
    assert_eq!(said.code, 0, "{said:#?}");
    for shown in ["files.write", "destructive", "t1c1", "\"path\": \"b.txt\"", "\"content\": \"new\"", "t1c1 allowed"] {
        assert!(said.stderr.contains(shown), "{shown:?} is missing: {said:#?}");
    }
}

#[test]
fn approve_again_says_that_it_took_effect() {
    let world = calls(&agent(""), &[write("b.txt", "new")]);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    assert_eq!(world.agentd(&["approve", "@last", "t1c1"]).code, 0);
    for args in [&["approve", "@last"][..], &["approve", "@last", "t1c1"], &["approve", "@last", "--all"]] {
        let again = world.agentd(args);
        assert!(again.code == 0 && again.stderr.contains("t1c1 allowed already"), "{again:#?}");
    }
    assert_eq!(world.agentd(&["resume", "@last"]).stdout, "done\n");
    let after = world.agentd(&["approve", "@last", "t1c1"]);
    assert!(after.code == 0 && after.stderr.contains("t1c1 allowed already"), "{after:#?}");
    assert_eq!(world.show()["entries"].to_string().matches("approval_given").count(), 1);
}

#[test]
fn approve_refuses_a_call_that_has_come_since_the_last_look() {
    let world = calls(&agent(""), &[write("b.txt", "new"), write("c.txt", "other")]);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    // Somebody else, from a home where nothing was shown yet, allows the first and has the run go on.
    let shown = world.path("home/shown");
    let kept: Vec<_> = fs::read_dir(&shown).unwrap().map(|file| file.unwrap().path()).collect();
    let before = fs::read(&kept[0]).unwrap();
    assert_eq!(world.agentd(&["approve", "@last", "t1c1"]).code, 0);
    assert_eq!(world.agentd(&["resume", "@last"]).code, 3);
    fs::write(&kept[0], before).unwrap();
    let said = world.agentd(&["approve", "@last"]);
    assert_eq!(said.code, 2, "{said:#?}");
    for shown in ["t2c1 was not shown to you before", "c.txt", "agentd approve", " t2c1"] {
        assert!(said.stderr.contains(shown), "{shown:?} is missing: {said:#?}");
    }
    assert!(!world.path("notes/c.txt").exists());
    assert_eq!(world.agentd(&["approve", "@last"]).code, 0, "now it was shown");
}

#[test]
fn last_names_no_run_while_more_than_one_waits() {
    let world = calls(&agent(""), &[write("b.txt", "new")]);
    for _ in 0..2 {
        assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    }
    for args in [&["approve", "@last"][..], &["deny", "@last", "--all"], &["resolve", "@last", "t1c1", "--retry"]] {
        let said = world.agentd(args);
        assert!(said.code == 2 && said.stderr.contains("more than one run waits"), "{said:#?}");
    }
    let run = world.show()["run"].as_str().unwrap().to_owned();
    assert_eq!(world.agentd(&["approve", &run]).code, 0);
    assert_eq!(world.agentd(&["resume", &run]).code, 0);
    assert_eq!(world.agentd(&["deny", "@last"]).code, 2, "one waits, and it is not the newest");
}

#[test]
fn keys_that_were_typed_before_a_question_answer_nothing() {
    let world = calls(&agent(""), &[write("b.txt", "new"), write("c.txt", "other")]);
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go"]));
    terminal.types("once");
    terminal.types("once");
    terminal.until("[l]ater:");
    assert!(!world.path("notes/b.txt").exists());
    // Two answers in one go: the second stands there before its question does.
    terminal.presses("once\nonce\n");
    terminal.until("c.txt");
    terminal.until("[l]ater:");
    assert!(!world.path("notes/c.txt").exists());
    terminal.types("l");
    assert_eq!(terminal.end().0, 3);
    assert!(world.path("notes/b.txt").exists() && !world.path("notes/c.txt").exists());
}

#[test]
fn what_is_not_shown_whole_is_not_allowed_by_one_key() {
    let long: String = (0..500).map(|line| format!("line {line}\n")).collect();
    let world = calls(&agent(""), &[write("b.txt", &long)]);
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go"]));
    terminal.until("bytes of this call are not shown");
    terminal.until("[l]ater:");
    for key in ["o", "y", "r", "w"] {
        terminal.types(key);
        terminal.until("a part of this call is not shown");
        terminal.until("[l]ater:");
    }
    assert!(!terminal.seen.contains("line 499"));
    terminal.types("s");
    terminal.until("line 499");
    terminal.until("[l]ater:");
    terminal.types("o");
    assert_eq!(terminal.end().1, "done\n");

    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    terminal.types("once t1c1");
    assert_eq!(terminal.end().1, "done\n");

    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let vague = world.agentd(&["approve", "@last"]);
    assert!(vague.code == 2 && vague.stderr.contains("bytes of this call are not shown"), "{}", vague.code);
    assert_eq!(world.agentd(&["approve", "@last", "t1c1"]).code, 0);
}

#[test]
fn what_nobody_sees_is_shown_in_a_question() {
    let hidden = "a\u{2800}b\u{fe0f}c\u{e0041}d\u{200b}e";
    let world = calls(&agent(""), &[write("b.txt", &format!("{hidden}{}end", " ".repeat(900)))]);
    assert_eq!(world.agentd(&["run", "agent.yaml", "go"]).code, 3);
    let shown = world.agentd(&["runs", "show", "@last"]).stdout;
    assert!(shown.contains("a\\u{2800}b\\u{fe0f}c\\u{e0041}d\\u{200b}e⟪900 blanks⟫end"), "{shown}");
}

/// Runs the program as somebody who is not root, with the home `home` below `dir`.
fn as_nobody(dir: &std::path::Path, args: &[&str]) -> (i32, String) {
    use std::os::unix::process::CommandExt;
    let mut command = std::process::Command::new(dir.join("agentd"));
    command.args(args).current_dir(dir.join("work")).env("AGENTD_HOME", dir.join("home")).env_remove("AGENTD_CONFIG");
    let output = command.uid(47_110).gid(47_110).env("HOME", dir.join("home")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_root_outside_of_the_folder_needs_a_file_of_ones_own_or_a_word() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    if !rustix::process::geteuid().is_root() {
        // Only root can make files of others, and be somebody else.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_agentd"), dir.join("agentd")).unwrap();
    for folder in ["work", "work/notes", "home", "elsewhere"] {
        fs::create_dir(dir.join(folder)).unwrap();
    }
    chown(dir.join("home"), Some(47_110), Some(47_110)).unwrap();
    symlink(dir.join("elsewhere"), dir.join("work/link")).unwrap();
    let write = |name: &str, text: &str| fs::write(dir.join("work").join(name), text).unwrap();
    write("script.yaml", "version: 1\nanswers: [{text: done}]\n");
    write("agentd.yaml", "version: 1\nproviders: {demo: {dialect: scripted, script: ./script.yaml}}\n");
    for (root, inside) in [
        ("./notes", true),
        (".", true),
        ("missing/../notes", false),
        ("../elsewhere", false),
        ("/etc", false),
        ("./link", false),
        ("${HOME}", false),
    ] {
        let text = format!(
            "version: 1\nname: notes\nmodel: demo/any\nservers: {{files: {{builtin: files, root: \"{root}\"}}}}\n"
        );
        write("agent.yaml", &text);
        let (code, told) = as_nobody(dir, &["tools", "ls", "agent.yaml"]);
        assert_eq!(code, if inside { 0 } else { 2 }, "{root}: {told}");
        assert!(inside || told.contains("leads out of the folder of the file"), "{root}: {told}");
        if root == "../elsewhere" {
            assert_eq!(as_nobody(dir, &["run", "agent.yaml", "go"]).0, 2);
            assert_eq!(as_nobody(dir, &["run", "agent.yaml", "go", "--outside-root"]).0, 0);
        }
        // A file of ones own may name any folder.
        chown(dir.join("work/agent.yaml"), Some(47_110), None).unwrap();
        let (_, told) = as_nobody(dir, &["tools", "ls", "agent.yaml"]);
        assert!(!told.contains("leads out of the folder"), "{root}: {told}");
        fs::remove_file(dir.join("work/agent.yaml")).unwrap();
    }
}

#[test]
fn a_process_that_is_stopped_keeps_no_command_waiting_without_a_word() {
    let world = World::new(&agent(""), "answers: [{delay: 120s, text: late}]");
    let mut running = Running::start(world.command(&["run", "agent.yaml", "go", "--stream-json"]));
    running.until("model_asked");
    running.signal(Signal::STOP);
    let pid = running.child.id();
    let said = world.agentd(&["runs", "show", "@last", "--timeout", "12s"]);
    running.signal(Signal::CONT);
    running.signal(Signal::KILL);
    running.child.wait().unwrap();
    assert_eq!(said.code, 9, "{said:#?}");
    let what = format!("waiting for process {pid}, which holds the slot of this run, to answer");
    assert!(said.stderr.contains(&format!("{what} (10.0s so far)")), "{said:#?}");
    assert!(said.stderr.contains(&format!("gave up after 12.0s: still {what}")), "{said:#?}");
}

#[test]
fn a_tool_server_that_is_stopped_keeps_no_command_waiting_without_a_word() {
    let agent = "version: 1\nname: a\nmodel: demo/any\nservers: {still: {command: sh, args: [-c, 'kill -STOP $$']}}\n";
    let world = World::new(agent, "answers: [{text: done}]");
    let said = world.agentd(&["tools", "ls", "agent.yaml", "--timeout", "12s"]);
    assert_eq!(said.code, 9, "{said:#?}");
    assert!(
        said.stderr.contains("waiting for the tool servers (still) to list their tools (10.0s so far)"),
        "{said:#?}"
    );
    assert!(said.stderr.contains("gave up after 12.0s"), "{said:#?}");
    // A run says so too, and goes on waiting as long as the server may take.
    let mut command = world.command(&["run", "agent.yaml", "go"]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("waiting for this: starting still") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "{told}");
    }
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn a_reader_that_does_not_read_is_told_of() {
    let world = World::new(&agent(""), &format!("answers: [{{text: {}}}]", "long ".repeat(100_000)));
    let mut command = world.command(&["run", "agent.yaml", "go"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(run.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("waiting for whoever reads stdout") {
        assert!(stderr.read_line(&mut told).unwrap() > 0, "{told}");
    }
    let mut output = String::new();
    run.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(run.wait().unwrap().success() && output.trim_end().ends_with("long"));
}
