//! Talking with an agent at a terminal: one run, told more after each answer.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use serde_json::Value;

use crate::terminal::{Terminal, agentd, world};

const TALK: &str = "
answers:
  - either:
      - {when: {input: \"good\\nmorning\"}, text: Two lines.}
      - {text: One line.}
  - either:
      - {when: {input: better}, text: Much better.}
      - {when: {input: slow}, delay: 600s, text: Never.}
  - text: Better than that.
";

/// What stands on stdout of a command.
fn stdout(mut command: Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn a_run_is_told_more_and_a_turn_can_be_stopped() {
    let dir = world(TALK);
    let mut terminal = Terminal::whole(agentd(&dir, &["run", "agent.yaml"]));
    terminal.until("> ");
    terminal.types("good\\");
    terminal.types("morning");
    terminal.until("Two lines.");
    terminal.until("> ");
    // An empty line and a forgotten one are no prompts.
    terminal.types("");
    terminal.until("> ");
    terminal.presses("never mind\u{3}");
    terminal.until("> ");
    terminal.types("slow");
    terminal.until("turn 2: asking");
    kill_process(Pid::from_child(&terminal.child), Signal::INT).unwrap();
    terminal.until("stopping this turn");
    terminal.until("> ");
    terminal.types("better");
    // What was stopped is an answer in the conversation.
    terminal.until("Better than that.");
    terminal.until("> ");
    terminal.presses("\u{4}");
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    assert!(seen.contains("go on with: agentd resume"), "{seen}");
    // The model is told, and the two prompts are two messages.
    let shown: Value = serde_json::from_str(&stdout(agentd(&dir, &["runs", "show", "--json"]))).unwrap();
    let entries = shown["entries"].as_array().unwrap().iter();
    let stopped: Vec<_> = entries.filter(|entry| entry["data"]["stopped"] == true).collect();
    assert_eq!(stopped.len(), 1, "{shown}");
    assert_eq!(stopped[0]["data"]["parts"][0]["data"]["text"], "better");
    // It was one run, and what was typed is remembered.
    let listed = stdout(agentd(&dir, &["runs", "--json"]));
    assert_eq!(listed.matches("\"run\"").count(), 1, "{listed}");
    let told = stdout(agentd(&dir, &["runs", "show"]));
    for words in ["good morning", "slow", "better"] {
        assert!(told.contains(words), "{words:?} is missing: {told}");
    }
    assert!(!told.contains("never mind"), "{told}");
}

#[test]
fn earlier_prompts_are_at_the_arrow_key_also_when_a_run_is_resumed() {
    let dir = world(TALK);
    let mut terminal = Terminal::whole(agentd(&dir, &["run", "agent.yaml"]));
    terminal.until("> ");
    terminal.types("better");
    terminal.until("One line.");
    terminal.until("> ");
    terminal.presses("\u{4}");
    assert_eq!(terminal.end().0, 0);

    let mut terminal = Terminal::whole(agentd(&dir, &["resume", "@last"]));
    terminal.until("> ");
    terminal.presses("\u{1b}[A");
    terminal.until("better");
    terminal.types("");
    terminal.until("Much better.");
    terminal.until("> ");
    kill_process(Pid::from_child(&terminal.child), Signal::TERM).unwrap();
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 143, "{seen}");
    assert!(seen.contains("go on with: agentd resume"), "{seen}");
}

#[test]
fn who_leaves_at_once_has_started_nothing() {
    let dir = world(TALK);
    let mut terminal = Terminal::whole(agentd(&dir, &["run", "agent.yaml"]));
    terminal.until("> ");
    terminal.presses("\u{4}");
    assert_eq!(terminal.end().0, 0);
    assert!(!stdout(agentd(&dir, &["runs", "--json"])).contains("\"run\""));
}

#[test]
fn alt_enter_ends_a_line_and_not_the_prompt() {
    let dir = world(TALK);
    let mut terminal = Terminal::whole(agentd(&dir, &["run", "agent.yaml"]));
    terminal.until("> ");
    terminal.presses("good\u{1b}\rmorning\r");
    terminal.until("Two lines.");
    terminal.until("> ");
    terminal.presses("\u{4}");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn what_a_conversation_is_told_from_elsewhere_is_answered_at_once() {
    let dir = world(
        "
answers:
  - text: One.
  - {text: Two.}
  - either:
      - {when: {input: half of a line}, text: Three.}
",
    );
    let mut terminal = Terminal::whole(agentd(&dir, &["run", "agent.yaml"]));
    terminal.until("> ");
    terminal.types("begin");
    terminal.until("One.");
    terminal.until("> ");
    terminal.presses("half of");
    terminal.until("half of");
    let told = agentd(&dir, &["resume", "@last", "and from elsewhere"]).output().unwrap();
    let said = String::from_utf8(told.stderr).unwrap();
    assert!(told.status.success() && said.contains("was told"), "{said}");
    terminal.until(": and from elsewhere");
    terminal.until("Two.");
    // What was typed meanwhile is still there.
    terminal.until("> half of");
    terminal.types(" a line");
    terminal.until("Three.");
    terminal.until("> ");
    terminal.presses("\u{4}");
    let (code, _, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
}
