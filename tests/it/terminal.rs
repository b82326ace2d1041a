//! The program at a terminal: progress, questions, and what never gets through.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tempfile::TempDir;

use crate::cli::World;

/// The program with stdin and stderr at a terminal of ours, and stdout in a pipe or there too.
pub struct Terminal {
    pub child: Child,
    ours: File,
    /// All that it showed so far.
    pub seen: String,
    /// Up to where a test has looked for what it waited for.
    looked: usize,
}

impl Terminal {
    pub fn start(mut command: Command) -> Self {
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        Self::open(command, false, 80)
    }

    /// The same with stdout at the terminal.
    pub fn whole(mut command: Command) -> Self {
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        Self::open(command, true, 80)
    }

    /// A terminal so many columns wide, of the kind that the command's environment says.
    pub fn open(mut command: Command, whole: bool, columns: u16) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        // With this end in its own hands, a program that a failed test leaves behind would never hear that nobody reads.
        fcntl_setfd(&ours, FdFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let open = || -> OwnedFd { rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap() };
        let child = command
            .stdin(open())
            .stderr(open())
            .stdout(if whole { open().into() } else { Stdio::piped() })
            .spawn()
            .unwrap();
        // The command keeps its ends of the terminal open, which would hide that the program has ended.
        drop(command);
        Terminal { child, ours: File::from(ours), seen: String::new(), looked: 0 }
    }

    /// Reads on until this is shown, behind what was waited for before.
    pub fn until(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.seen[self.looked..].find(text) {
                self.looked += at + text.len();
                return;
            }
            let read = self.ours.read(&mut bytes).unwrap_or(0);
            assert!(read > 0, "the program ended before it showed {text:?}: {}", self.seen);
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }

    pub fn types(&mut self, line: &str) {
        self.presses(&format!("{line}\n"));
    }

    /// Types keys without Enter.
    pub fn presses(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Exit code, stdout, and all that the terminal showed.
    pub fn end(mut self) -> (i32, String, String) {
        let mut bytes = [0; 4096];
        // The read fails when nobody has the other end any more.
        while let Ok(read) = self.ours.read(&mut bytes)
            && read > 0
        {
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout).unwrap();
        }
        (self.child.wait().unwrap().code().unwrap(), stdout, self.seen)
    }
}

pub(super) fn world(script: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::create_dir(dir.path().join("notes")).unwrap();
    write("notes/a.txt", "hello\n");
    write(
        "agent.yaml",
        "version: 1\nname: notes\nmodel: demo/any\nservers: {files: {builtin: files, root: ./notes}}\n",
    );
    write("agentd.yaml", "version: 1\nproviders: {demo: {dialect: scripted, script: ./script.yaml}}\n");
    write("script.yaml", &format!("version: 1\n{script}"));
    dir
}

pub(super) fn agentd(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agentd"));
    command.args(args).current_dir(dir.path()).env("AGENTD_HOME", dir.path().join("home"));
    command.env_remove("AGENTD_CONFIG").env_remove("AGENTD_LOG");
    command
}

const WRITES: &str = "
answers:
  - {calls: [{name: files__write, arguments: {path: b.txt, content: new}}], usage: {input: 1000, output: 20}}
  - either:
      - {when: {error: true}, text: I was not allowed to.}
      - {text: Written.}
";

#[test]
fn a_call_is_asked_about_at_once() {
    let dir = world(WRITES);
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    for shown in ["? files.write", "t1c1", "needs approval", "\"path\": \"b.txt\"", "\"content\": \"new\""] {
        assert!(terminal.seen.contains(shown), "{shown:?} is missing: {}", terminal.seen);
    }
    terminal.types("maybe");
    terminal.until("[l]ater:");
    assert!(!dir.path().join("notes/b.txt").exists());
    terminal.types("once");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (0, "Written.\n"), "{seen}");
    assert_eq!(fs::read_to_string(dir.path().join("notes/b.txt")).unwrap(), "new");
    for shown in [
        "a script and no model",
        "turn 1: 1 call",
        "✓ files.write",
        "done · 2 turns · 1 call · 0 repairs · 1,020 tokens: ",
    ] {
        assert!(seen.contains(shown), "{shown:?} is missing: {seen}");
    }
}

#[test]
fn a_refusal_reaches_the_model_with_its_reason() {
    let dir = world(WRITES);
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    terminal.types("d not in there");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (0, "I was not allowed to.\n"), "{seen}");
    assert!(seen.contains("not in there"), "{seen}");
}

#[test]
fn what_is_put_off_stays_parked() {
    let dir = world(WRITES);
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    terminal.types("l");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (3, ""), "{seen}");
    assert!(seen.contains("resume with: agentd resume"), "{seen}");

    let mut terminal = Terminal::start(agentd(&dir, &["resume", "@last"]));
    terminal.until("[l]ater:");
    terminal.types("y");
    assert_eq!(terminal.end().1, "Written.\n");
}

/// Three writes, one in each answer.
const THRICE: &str = "
answers:
  - {calls: [{name: files__write, arguments: {path: b.txt, content: new}}]}
  - {calls: [{name: files__write, arguments: {path: c.txt, content: new}}]}
  - {text: Written.}
";

#[test]
fn a_tool_is_allowed_for_the_rest_of_the_run_or_for_good() {
    let dir = world(THRICE);
    for (word, again) in [("r", true), ("w", true), ("", false)] {
        let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
        if again {
            terminal.until("[l]ater:");
            terminal.types(word);
        }
        let (code, stdout, seen) = terminal.end();
        assert_eq!((code, stdout.as_str()), (0, "Written.\n"), "{seen}");
        assert_eq!(seen.matches("needs approval").count(), usize::from(again), "{seen}");
        let by_rule = seen.contains("allows files.write for this run");
        assert_eq!(by_rule, again, "{seen}");
    }
    let file = fs::read_to_string(dir.path().join("agent.yaml")).unwrap();
    assert!(file.ends_with("\npolicy:\n  \"files.write\": {approve: allow}\n"), "{file}");
}

#[test]
fn a_file_that_cannot_be_changed_leaves_the_question_open() {
    let dir = world(WRITES);
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    fs::write(dir.path().join("agent.yaml"), "version: 2\n").unwrap();
    terminal.types("w");
    terminal.until("is not changed");
    terminal.until("[l]ater:");
    terminal.types("once");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (0, "Written.\n"), "{seen}");
    assert!(seen.contains("\"files.write\": {approve: allow}"), "the line to add is shown: {seen}");
}

/// An editor that writes something wrong first, and mends it the second time.
const EDITOR: &str = r#"
if grep -q '"path": 7' "$1"; then
  printf '{"path": "c.txt",\n "content": "better"}\n' > "$1"
else
  printf '{"path": 7}' > "$1"
fi
"#;

#[test]
fn arguments_are_edited_until_they_fit_and_nothing_is_lost() {
    let dir = world(WRITES);
    fs::write(dir.path().join("ed.sh"), EDITOR).unwrap();
    let mut command = agentd(&dir, &["run", "agent.yaml", "go"]);
    command.env("VISUAL", "sh ed.sh");
    let mut terminal = Terminal::start(command);
    terminal.until("[l]ater:");
    terminal.types("edit");
    terminal.until("these arguments cannot run");
    terminal.until("[l]ater:");
    terminal.types("e");
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (0, "Written.\n"), "{seen}");
    assert_eq!(fs::read_to_string(dir.path().join("notes/c.txt")).unwrap(), "better");
    assert!(!dir.path().join("notes/b.txt").exists());
    assert!(seen.contains(r#"with arguments {"path":"c.txt","content":"better"}"#), "{seen}");
}

#[test]
fn an_editor_that_changes_nothing_or_fails_decides_nothing() {
    let dir = world(WRITES);
    let mut command = agentd(&dir, &["run", "agent.yaml", "go"]);
    command.env("VISUAL", "true");
    let mut terminal = Terminal::start(command);
    terminal.until("[l]ater:");
    terminal.types("e");
    terminal.until("nothing was changed");
    terminal.until("[l]ater:");
    terminal.types("d");
    assert_eq!(terminal.end().1, "I was not allowed to.\n");

    let mut command = agentd(&dir, &["run", "agent.yaml", "go"]);
    command.env_remove("VISUAL").env("EDITOR", "./no-such-editor --wait");
    let mut terminal = Terminal::start(command);
    terminal.until("[l]ater:");
    terminal.types("e");
    terminal.until("cannot start the editor");
    terminal.until("[l]ater:");
    terminal.types("l");
    assert_eq!(terminal.end().0, 3);
}

#[test]
fn a_parked_call_is_edited_from_the_command_line() {
    let dir = world(WRITES);
    fs::write(dir.path().join("ed.sh"), EDITOR).unwrap();
    assert_eq!(
        agentd(&dir, &["run", "agent.yaml", "go"]).stdin(Stdio::null()).output().unwrap().status.code(),
        Some(3)
    );
    let edit = || {
        let mut command = agentd(&dir, &["approve", "@last", "--edit"]);
        command.env("VISUAL", "sh ed.sh");
        command
    };
    let unattended = edit().stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8(unattended.stderr).unwrap();
    assert_eq!(unattended.status.code(), Some(2), "{told}");
    let kept = told.split("what you wrote is in ").nth(1).unwrap().trim();
    assert_eq!(fs::read_to_string(kept).unwrap(), r#"{"path": 7}"#);
    fs::remove_file(kept).unwrap();
    let mut terminal = Terminal::start(edit());
    terminal.until("edit again?");
    terminal.types("");
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("t1c1 allowed"), "{seen}");
    let resumed = agentd(&dir, &["resume", "@last"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(resumed.stdout, b"Written.\n");
    assert_eq!(fs::read_to_string(dir.path().join("notes/c.txt")).unwrap(), "better");
}

#[test]
fn a_tool_is_allowed_for_good_from_the_command_line() {
    let dir = world(THRICE);
    assert_eq!(
        agentd(&dir, &["run", "agent.yaml", "go"]).stdin(Stdio::null()).output().unwrap().status.code(),
        Some(3)
    );
    let written = agentd(&dir, &["approve", "@last", "--write"]).output().unwrap();
    let told = String::from_utf8(written.stderr).unwrap();
    assert!(told.contains("agent.yaml allows files.write from now on\nt1c1 allowed\n"), "{told}");
    for args in [&["resume", "@last"][..], &["run", "agent.yaml", "go"]] {
        let output = agentd(&dir, args).stdin(Stdio::null()).output().unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"Written.\n"[..]), "{output:?}");
    }
}

#[test]
fn both_ctrl_cs_are_obeyed_at_once_and_the_run_can_be_resumed() {
    let world = World::slow("put");
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go", "--yes"]));
    terminal.until("slow.put");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    terminal
        .until("stopping when the calls that were sent have ended; once more to stop at once, and leave them in doubt");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 130, "{seen}");
    assert!(seen.contains("! slow.put {\"text\":\"a\"} outcome unknown"), "the doubt is stated: {seen}");
    assert!(seen.contains("resume with: agentd resume"), "{seen}");
}

#[test]
fn the_first_ctrl_c_waits_for_a_write_and_leaves_no_doubt() {
    let world = World::slow("put");
    let agent = fs::read_to_string(world.path("agent.yaml")).unwrap();
    world.write("agent.yaml", &agent.replace("30000", "1500"));
    let mut terminal = Terminal::start(world.command(&["run", "agent.yaml", "go", "--yes"]));
    terminal.until("slow.put");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (130, ""), "{seen}");
    assert!(seen.contains("✓ slow.put") && !seen.contains("outcome unknown"), "{seen}");
    let resumed = world.agentd(&["resume", "@last"]);
    assert_eq!((resumed.code, resumed.stdout.as_str()), (0, "done\n"), "{resumed:#?}");
    let effects = fs::read_to_string(world.path("effects.log")).unwrap();
    assert_eq!(effects.matches("put ").count(), 1, "{effects}");
}

#[test]
fn what_differs_is_shown_as_a_difference() {
    let dir = world(
        "
answers:
  - calls: [{name: files__edit, arguments: {path: a.txt, old: \"hello\\n\", new: \"good\\e[2J\\nbye\\n\"}}]
  - {text: Done.}
",
    );
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    for shown in ["-| hello", "+| good\\u{1b}[2J", "+| bye"] {
        assert!(terminal.seen.contains(shown), "{shown:?} is missing: {}", terminal.seen);
    }
    assert!(!terminal.seen.contains("\u{1b}[2J"), "{}", terminal.seen);
    terminal.types("d");
    assert_eq!(terminal.end().1, "Done.\n");
}

#[test]
fn a_file_that_is_written_anew_is_compared_with_what_the_run_knows_of_it() {
    let write = |content: &str| {
        format!("{{calls: [{{name: files__write, arguments: {{path: a.txt, content: {content:?}}}}}]}}")
    };
    let read = |path: &str| format!("{{calls: [{{name: files__read, arguments: {{path: {path}}}}}]}}");
    let edit = "{calls: [{name: files__edit, arguments: {path: a.txt, old: two, new: 2}}]}".to_owned();
    // In order: nothing known; written by us; read; a part read since; changed since in another way.
    let part = "{calls: [{name: files__read, arguments: {path: a.txt, limit: 1}}]}".to_owned();
    let answers = [
        write("one\n"),
        write("one\ntwo\n"),
        read("./a.txt"),
        part,
        write("zero\none\n"),
        read("a.txt"),
        edit,
        write("last\nof all\n"),
        "{text: Done.}".to_owned(),
    ];
    let dir = world(&format!("answers:\n  - {}\n", answers.join("\n  - ")));
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    let mut asked = |answer: &str| {
        let begun = terminal.seen.len();
        terminal.until("[l]ater:");
        terminal.types(answer);
        let question = &terminal.seen[begun..];
        question[question.find("  {").unwrap()..question.find("  [o]nce").unwrap()].replace('\r', "")
    };
    let first = asked("o");
    assert!(!first.contains("against") && first.ends_with("\n  }\n  content:\n   | one\n"), "{first}");
    let second = asked("o");
    assert!(second.ends_with("  content, against what was written at t1c1:\n   | one\n  +| two\n"), "{second}");
    let third = asked("o");
    let expected = "  content, against what was read at t3c1:\n  +| zero\n   | one\n  -| two\n";
    assert!(third.ends_with(expected), "{third}");
    // The edit itself, which does not find its text.
    asked("o");
    let last = asked("d");
    assert!(!last.contains("against") && last.ends_with("  content:\n   | last\n   | of all\n"), "{last}");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn ctrl_c_at_a_question_lets_the_run_go() {
    let dir = world(WRITES);
    let mut terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    terminal.until("[l]ater:");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 130, "{seen}");
    assert!(seen.contains("resume with: agentd resume"), "{seen}");
}

#[test]
fn nobody_is_asked_when_a_machine_reads() {
    let dir = world(WRITES);
    for format in ["--json", "--stream-json"] {
        let terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go", format]));
        let (code, _, seen) = terminal.end();
        assert_eq!(code, 3, "{seen}");
        assert!(!seen.contains("[l]ater"), "{seen}");
    }
}

#[test]
fn what_others_say_never_reaches_the_terminal_raw() {
    let dir = world(
        "
answers:
  - {calls: [{name: \"x\\e[2Jy\\u202E\", arguments: {}}]}
  - {calls: [{name: files__read, arguments: {path: \"gone\\e[2J\\u200B\"}}]}
  - {text: \"all\\e[2J gone\"}
",
    );
    let terminal = Terminal::start(agentd(&dir, &["run", "agent.yaml", "go"]));
    let (code, stdout, seen) = terminal.end();
    assert_eq!((code, stdout.as_str()), (0, "all\u{1b}[2J gone\n"), "a pipe gets the output as it is: {seen}");
    for raw in ["\u{1b}[2J", "\u{202e}", "\u{200b}"] {
        assert!(!seen.contains(raw), "{seen:?}");
    }
    assert!(seen.contains("x\\u{1b}[2Jy\\u{202e}"), "{seen:?}");
}
