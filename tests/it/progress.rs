//! The progress of one run as people see it: at a terminal of any kind and width, and where there is none.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{
    cli::{AGENT, World},
    terminal::Terminal,
};

/// What a run may meet: a provider that is down, another behind it, reads side by side with one that is mended, an answer
/// that breaks off, a call that is refused, a slow tool, a question, a cost.
const SCRIPT: &str = r#"
answers:
  - text: I look.
    calls:
      - {name: files__read, arguments: {path: a.txt}}
      - {name: Files__Read, raw: "{'path': \"b.txt\",}"}
    usage: {input: 640, output: 35}
  - first: [{cut: "I have re"}]
    calls: [{name: files__write, arguments: {path: a.txt}}]
    usage: {input: 760, output: 40, cached: 640}
  - calls: [{name: counter__put, arguments: {text: "a text that goes on, further than a line is long — 漢字漢字漢字漢字漢字漢字"}}]
    usage: {input: 800, output: 30, cached: 760}
  - calls: [{name: files__write, arguments: {path: a.txt, content: "hello\nworld\n"}}]
    usage: {input: 850, output: 30, cached: 800}
  - text: Done.
    usage: {input: 900, output: 5, cached: 850}
"#;

fn world() -> World {
    let counter = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
    let world = World::new("", SCRIPT);
    let log = world.path("effects.log").display().to_string();
    world.write(
        "agent.yaml",
        &format!(
            "version: 1\nname: notes\nmodel: smart\nservers:\n  files: {{builtin: files, root: ./notes}}\n  \
             counter: {{command: python3, args: [-S, \"{counter}\"], env: {{LOG: \"{log}\", SLOW_MS: \"1500\"}}}}\n\
             policy: {{\"counter.*\": {{approve: allow}}}}\n"
        ),
    );
    world.write("notes/b.txt", "two\n");
    world.write("down.yaml", "version: 1\nanswers: [{fail: {status: 503, message: overloaded}, repeat: true}]\n");
    world.write(
        "agentd.yaml",
        "version: 1\nproviders:\n  demo: {dialect: scripted, script: ./script.yaml}\n  \
         down: {dialect: scripted, script: ./down.yaml}\nroutes: {smart: {targets: [down/any, demo/any]}}\n\
         prices: {demo/any: {input: 1, cached: 1, output: 2}}\n",
    );
    world
}

/// The command at a terminal of a kind, whatever the one of these tests is.
fn at(world: &World, term: &str, args: &[&str]) -> Command {
    let mut command = world.command(args);
    // `CI` has colours written whatever the terminal is.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(name);
    }
    command.env("TERM", term);
    command
}

/// What stays on a terminal, line by line. It knows no more than what moves the one line that moves.
fn screen(seen: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut row, mut start) = (0, false);
    let mut chars = seen.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => start = true,
            '\n' => {
                row += 1;
                start = false;
                if row == lines.len() {
                    lines.push(String::new());
                }
            }
            '\u{1b}' => {
                let sequence: String = chars.by_ref().take(3).collect();
                assert_eq!(sequence, "[2K", "{sequence:?} in {seen:?}");
                lines[row].clear();
            }
            c => {
                if std::mem::take(&mut start) {
                    lines[row].clear();
                }
                lines[row].push(c);
            }
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The lines without what differs from run to run. What ends side by side ends in any order.
fn steady(lines: &[String]) -> String {
    let is_time = |word: &str| {
        let digits = word.trim_end_matches(|c: char| c.is_ascii_lowercase());
        digits.len() < word.len() && digits.parse::<f64>().is_ok() && matches!(&word[digits.len()..], "ms" | "s")
    };
    let steady_word = |word: &str| {
        let bare = word.trim_end_matches([',', ':']);
        let rest = &word[bare.len()..];
        match bare {
            _ if is_time(bare) => format!("TIME{rest}"),
            _ if bare.len() == 36 && bare.matches('-').count() == 4 => format!("RUN{rest}"),
            _ if bare.contains('@') => format!("USER{rest}"),
            _ => word.to_owned(),
        }
    };
    let mut lines: Vec<String> =
        lines.iter().map(|line| line.split(' ').map(steady_word).collect::<Vec<_>>().join(" ")).collect();
    let ended = |line: &String| line.contains(" files.read ");
    lines.chunk_by_mut(|one, next| ended(one) && ended(next)).for_each(<[String]>::sort);
    lines.join("\n")
}

#[test]
fn a_run_is_told_a_line_a_step() {
    let world = world();
    for term in ["xterm-256color", "dumb"] {
        fs::write(world.path("notes/a.txt"), "hello\n").unwrap();
        let _ = fs::remove_dir_all(world.path("home"));
        let mut terminal = Terminal::open(at(&world, term, &["run", "agent.yaml", "go"]), false, 120);
        if term != "dumb" {
            // What takes its time says for how long.
            terminal.until("1s counter.put");
        }
        terminal.until("[l]ater:");
        terminal.types("o");
        let (code, stdout, seen) = terminal.end();
        assert_eq!((code, stdout.as_str()), (0, "Done.\n"), "{seen}");
        let (plain, colours) = without_colours(&seen);
        assert_eq!(term != "dumb", colours > 0, "{seen:?}");
        assert_eq!(term != "dumb", seen.contains('\u{1b}'), "{seen:?}");
        insta::assert_snapshot!("one_run", steady(&screen(&plain)));
    }
    assert_eq!(fs::read_to_string(world.path("notes/a.txt")).unwrap(), "hello\nworld\n");
}

/// The text without what only colours it, and how often it does.
fn without_colours(seen: &str) -> (String, usize) {
    let mut parts = seen.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    let mut colours = 0;
    for part in parts {
        match part.split_once('m').filter(|(code, _)| code.chars().all(|c| c.is_ascii_digit() || c == ';')) {
            Some((_, rest)) => {
                colours += 1;
                plain.push_str(rest);
            }
            None => plain.push_str(&format!("\u{1b}[{part}")),
        }
    }
    (plain, colours)
}

#[test]
fn nothing_is_coloured_for_who_wants_no_colours() {
    let world = World::new(AGENT, "answers: [{calls: [{name: files__read, arguments: {path: a.txt}}]}, {text: Done.}]");
    for (name, value) in [("NO_COLOR", "1"), ("CLICOLOR", "0")] {
        let mut command = at(&world, "xterm-256color", &["run", "agent.yaml", "go"]);
        command.env(name, value);
        let (code, _, seen) = Terminal::open(command, false, 80).end();
        assert_eq!((code, without_colours(&seen).1), (0, 0), "{name}: {seen:?}");
        assert!(seen.contains("✓ files.read"), "{name}: {seen}");
    }
}

#[test]
fn without_a_terminal_stderr_has_the_name_of_the_run_and_no_more() {
    let world = world();
    let mut command = at(&world, "xterm-256color", &["run", "agent.yaml", "go", "--yes"]);
    let output = command.env("CLICOLOR_FORCE", "1").stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!((output.status.code(), stdout.as_str()), (Some(0), "Done.\n"), "{stderr}");
    assert_eq!(steady(&screen(&stderr)), "run RUN (notes, smart, a script and no model)\n");
}

#[test]
fn on_a_narrow_terminal_steps_keep_to_their_line() {
    let world = world();
    world.write("agentd.yaml", "version: 1\nproviders: {smart: {dialect: scripted, script: ./script.yaml}}\n");
    let agent = fs::read_to_string(world.path("agent.yaml")).unwrap().replace("model: smart", "model: smart/any");
    world.write("agent.yaml", &agent);
    let (code, _, seen) = Terminal::open(at(&world, "xterm", &["run", "agent.yaml", "go", "--yes"]), false, 40).end();
    assert_eq!(code, 0, "{seen}");
    let lines = screen(&without_colours(&seen).0);
    let columns = |line: &String| line.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum::<usize>();
    let ended: Vec<_> = lines.iter().filter(|line| line.starts_with(['✓', '~'])).collect();
    assert_eq!(ended.len(), 4, "{lines:#?}");
    assert!(ended.iter().all(|line| columns(line) <= 40), "{ended:#?}");
    // What moves would leave its beginning behind if it were longer than the line.
    let moves = seen.split(['\r', '\n']).filter(|line| line.contains("counter.put"));
    let longest = moves.map(|line| columns(&line.replace("\u{1b}[2K", ""))).max();
    assert!(longest.is_some_and(|longest| longest <= 40), "{longest:?}: {seen:?}");
}

#[test]
fn what_is_waited_for_is_named() {
    let counter = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/counter.py");
    let script = "answers: [{first: [{status: 429, retry_after: 2s, message: slow down}], delay: 2s, text: Done.}]";
    let world = World::new("", script);
    let log = world.path("effects.log").display().to_string();
    // A server that starts slowly.
    let start = format!("sleep 2; exec python3 -S {counter}");
    let agent = serde_json::json!({
        "version": 1, "name": "slow", "model": "demo/any",
        "servers": {"slow": {"command": "sh", "args": ["-c", start], "env": {"LOG": log}}},
    });
    world.write("agent.yaml", &agent.to_string());
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go"]));
    terminal.until("1s starting slow");
    terminal.until("next request in 2.0s: rate_limited at demo/any");
    terminal.until("1s next request");
    terminal.until("1s turn 1: asking demo/any again");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (0, "Done.\n"), "{seen}");
}
