//! Asks the person at the terminal about calls: may this one run; did that one happen.
//!
//! The run tells what it waits for ([`Board`]); the [`Desk`] asks one question at a time and says what is to be posted to
//! the run. Always true:
//! - There is no default: an empty line asks again, and the end of input means "later".
//! - A line that was typed under one question never answers another.
//! - Reading blocks a thread of its own and nothing else.

use std::{collections::HashSet, io, sync::mpsc as blocking, thread};

use tokio::sync::mpsc;

use crate::{
    chat::CallId,
    journal::What,
    run::{ApprovalReason, CallRecord, Decision, Resolution, Run, Wait},
};

use super::{
    screen::Screen,
    story,
    text::{Form, escape, indent},
};

/// Most characters of arguments that are shown; the rest is a mistake or an attack, and `runs show --json` has it.
const SHOWN_MAX: usize = 16 * 1024;

/// What a run waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    questions: Vec<Question>,
    /// Whether nothing but answers can bring the run forward.
    stuck: bool,
}

#[derive(Debug, Clone)]
struct Question {
    key: Key,
    call: CallRecord,
}

/// A question; the same call may be asked about again after another sending of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    call: CallId,
    attempts: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Approval(ApprovalReason),
    Doubt,
}

impl Board {
    /// What `run` waits for.
    pub fn of(run: &Run) -> Self {
        let want = run.next();
        let question = |wait: &Wait| {
            let (call, kind) = match wait {
                Wait::Approval(call) => {
                    let call = run.call(*call)?;
                    (call, Kind::Approval(call.asked.as_ref()?.reason))
                }
                Wait::Doubt(call) => (run.call(*call)?, Kind::Doubt),
                Wait::Input(_) | Wait::Other(_) => return None,
            };
            Some(Question { key: Key { call: call.id, attempts: call.attempts, kind }, call: call.clone() })
        };
        let person = |wait: &Wait| !matches!(wait, Wait::Other(_));
        Board {
            questions: want.waiting.iter().filter_map(question).collect(),
            stuck: want.is_idle() && !want.waiting.is_empty() && want.waiting.iter().all(person),
        }
    }
}

/// Where the person is asked.
pub(super) struct Desk {
    screen: Screen,
    lines: Lines,
    /// The question under which the next line is typed.
    open: Option<Question>,
    /// What was open before a line came that answers nothing any more.
    withdrawn: bool,
    later: HashSet<Key>,
    /// Questions whose answers are on their way to the run.
    answered: HashSet<Key>,
}

impl Desk {
    pub fn new(screen: Screen) -> Self {
        Desk {
            screen,
            lines: Lines::default(),
            open: None,
            withdrawn: false,
            later: HashSet::new(),
            answered: HashSet::new(),
        }
    }

    /// Takes in what the run waits for now and asks the next question. Returns `false` when all questions were put off
    /// and nothing else can bring the run forward.
    pub fn look(&mut self, board: &Board) -> bool {
        if let Some(open) = &self.open {
            let stands = board.questions.iter().any(|question| question.key == open.key);
            if !stands && !self.withdrawn {
                self.withdrawn = true;
                self.screen.tell("\n(this needs no answer any more; press Enter)");
            }
            return true;
        }
        let put_off = |question: &&Question| self.later.contains(&question.key);
        let open = board.questions.iter().filter(|question| !self.answered.contains(&question.key));
        match open.into_iter().find(|question| !put_off(question)) {
            Some(question) => {
                self.open = Some(question.clone());
                self.withdrawn = false;
                self.screen.ask(format_args!("{}\n{}", question.text(), question.choices()));
                true
            }
            None => {
                let under_way = board.questions.iter().any(|question| self.answered.contains(&question.key));
                !board.stuck || under_way
            }
        }
    }

    /// The next line that is typed; never completes while nothing is asked. Nothing is lost when it is dropped.
    pub async fn line(&mut self) -> Option<String> {
        match self.open {
            Some(_) => self.lines.next().await,
            None => std::future::pending().await,
        }
    }

    /// What a line means; `None` when it means nothing to the run.
    pub fn answer(&mut self, line: Option<&str>) -> Option<What> {
        let question = self.open.take()?;
        self.screen.answered();
        if std::mem::take(&mut self.withdrawn) {
            return None;
        }
        let Some(line) = line else {
            self.screen.tell("later");
            self.later.insert(question.key);
            return None;
        };
        match question.read(line) {
            Some(Answer::Post(what)) => {
                self.answered.insert(question.key);
                Some(what)
            }
            Some(Answer::Later) => {
                self.later.insert(question.key);
                None
            }
            None => {
                self.screen.ask(question.choices());
                self.open = Some(question);
                None
            }
        }
    }
}

/// Somebody else's text, with a word on what is left out.
fn shown(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let rest = text.len() - shown.len();
    let rest = if rest > 0 { format!("\n  … and {rest} more bytes") } else { String::new() };
    format!("{}{rest}", escape(&shown, Form::Text))
}

enum Answer {
    Post(What),
    Later,
}

impl Question {
    fn text(&self) -> String {
        let call = &self.call;
        let (tool, effect) = match &call.resolved {
            Some(resolved) => (resolved.origin.to_string(), resolved.effect.as_str()),
            None => (call.written.name.clone(), "unknown effect"),
        };
        let tool = escape(&tool, Form::Line).into_owned();
        let question = match self.key.kind {
            Kind::Approval(reason) => {
                format!("? {tool} ({effect}, {}) needs approval: {}", call.id, story::reason(reason))
            }
            Kind::Doubt => format!("? {tool} ({effect}, {}) was sent, and its outcome is unknown", call.id),
        };
        let arguments = indent(call.arguments(), "  ");
        match call.resolved.as_ref().filter(|resolved| !resolved.repairs.is_empty()) {
            None => format!("{question}\n{}", shown(&arguments)),
            Some(resolved) => {
                let written = format!("  {} {}", call.written.name, call.written.arguments);
                let mended: String = story::mended(resolved).map(|what| format!("  ~ {what}\n")).collect();
                let (written, arguments) = (shown(&written), shown(&arguments));
                format!("{question}\n  as the model wrote it:\n{written}\n{mended}  as it would run:\n{arguments}")
            }
        }
    }

    fn choices(&self) -> &'static str {
        match self.key.kind {
            Kind::Approval(_) => "  [o]nce, [d]eny (a reason may follow), [l]ater:",
            Kind::Doubt => "  it [h]appened, it did [n]ot, [r]etry it, [l]ater:",
        }
    }

    /// What a line says; `None` when it is none of the choices.
    fn read(&self, line: &str) -> Option<Answer> {
        let call = self.key.call;
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let word = word.to_lowercase();
        if matches!(&*word, "l" | "later") {
            return Some(Answer::Later);
        }
        let what = match self.key.kind {
            Kind::Approval(_) => {
                let reason = Some(rest.trim()).filter(|reason| !reason.is_empty()).map(str::to_owned);
                let decision = match &*word {
                    "o" | "once" | "y" | "yes" if reason.is_none() => Decision::Allow,
                    "d" | "deny" | "n" | "no" => Decision::Deny(reason),
                    _ => return None,
                };
                What::Approval { call, decision, shown: self.call.arguments().clone(), for_run: None }
            }
            Kind::Doubt => {
                let resolution = match &*word {
                    "h" | "happened" => Resolution::Happened(None),
                    "n" | "not" => Resolution::DidNot,
                    "r" | "retry" => Resolution::Retry,
                    _ => return None,
                };
                What::Doubt { call, resolution }
            }
        };
        Some(Answer::Post(what))
    }
}

/// Lines from stdin, read by a thread of its own, and only when somebody wants one.
#[derive(Default)]
struct Lines {
    reader: Option<(blocking::Sender<()>, mpsc::UnboundedReceiver<Option<String>>)>,
    /// Whether a line is being read already.
    reading: bool,
}

impl Lines {
    /// The next line; `None` at the end of input.
    async fn next(&mut self) -> Option<String> {
        let (want, lines) = self.reader.get_or_insert_with(|| {
            let (want, wanted) = blocking::channel();
            let (send, lines) = mpsc::unbounded_channel();
            // It ends when nobody wants lines any more, or with the process while it waits for one.
            thread::spawn(move || while wanted.recv().is_ok() && send.send(read_line()).is_ok() {});
            (want, lines)
        });
        if !self.reading {
            want.send(()).ok()?;
            self.reading = true;
        }
        let line = lines.recv().await.flatten();
        self.reading = false;
        line
    }
}

fn read_line() -> Option<String> {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chat::WrittenCall;

    fn question(kind: Kind) -> Question {
        let id = CallId { turn: 1, call: 2 };
        let written = WrittenCall {
            provider_id: None,
            name: "files__write".to_owned(),
            arguments: Arc::from(r#"{"path":"a\u001b[2J","text":"x,{y"}"#),
            complete: true,
            opaque: None,
        };
        let call = CallRecord {
            id,
            written,
            resolved: None,
            edited: None,
            attempts: 0,
            asked: None,
            allowed: false,
            decided: None,
            state: crate::run::CallState::Ready,
        };
        Question { key: Key { call: id, attempts: 0, kind }, call }
    }

    fn board(questions: &[Question]) -> Board {
        Board { questions: questions.to_vec(), stuck: true }
    }

    fn decision(what: Option<What>) -> Option<Decision> {
        match what {
            Some(What::Approval { decision, .. }) => Some(decision),
            _ => None,
        }
    }

    #[test]
    fn lines_are_decisions_or_nothing() {
        let read = |line| match question(Kind::Approval(ApprovalReason::Policy)).read(line) {
            Some(Answer::Post(what)) => decision(Some(what)),
            _ => None,
        };
        assert_eq!(read("o\n"), Some(Decision::Allow));
        assert_eq!(read(" YES "), Some(Decision::Allow));
        assert_eq!(read("d"), Some(Decision::Deny(None)));
        assert_eq!(read("deny not in there"), Some(Decision::Deny(Some("not in there".to_owned()))));
        assert_eq!(["", "\n", "yes but", "h", "allow"].map(read), [None, None, None, None, None]);
        assert!(matches!(question(Kind::Approval(ApprovalReason::Policy)).read("later"), Some(Answer::Later)));
    }

    #[test]
    fn lines_resolve_doubts() {
        let read = |line| match question(Kind::Doubt).read(line) {
            Some(Answer::Post(What::Doubt { resolution, .. })) => Some(resolution),
            _ => None,
        };
        let expected = [Some(Resolution::Happened(None)), Some(Resolution::DidNot), Some(Resolution::Retry), None];
        assert_eq!(["h", "n", "r", "y"].map(read), expected);
    }

    #[test]
    fn what_is_put_off_leaves_the_run_parked() {
        let mut desk = Desk::new(Screen::new(true));
        let board = board(&[question(Kind::Approval(ApprovalReason::Policy))]);
        assert!(desk.look(&board));
        assert!(desk.answer(Some("nonsense")).is_none());
        assert!(desk.look(&board), "it is asked again");
        assert!(desk.answer(Some("l")).is_none());
        assert!(!desk.look(&board));
    }

    #[test]
    fn a_line_typed_under_a_withdrawn_question_answers_nothing() {
        let mut desk = Desk::new(Screen::new(true));
        let (first, mut second) =
            (question(Kind::Approval(ApprovalReason::Policy)), question(Kind::Approval(ApprovalReason::Policy)));
        second.key.call.call = 3;
        assert!(desk.look(&board(&[first])));
        assert!(desk.look(&board(&[second.clone()])), "the line under the first question is waited for");
        assert_eq!(desk.answer(Some("yes")), None);
        assert!(desk.look(&board(&[second])));
        assert_eq!(decision(desk.answer(Some("yes"))), Some(Decision::Allow));
    }

    #[test]
    fn a_question_shows_everything_and_nothing_raw() {
        assert_eq!(
            question(Kind::Doubt).text(),
            "? files__write (unknown effect, t1c2) was sent, and its outcome is unknown\n  {\n    \"path\": \"a\\u001b[2J\",\n    \"text\": \"x,{y\"\n  }"
        );
    }
}
