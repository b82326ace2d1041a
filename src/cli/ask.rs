//! Asks the person at the terminal about calls: may this one run; did that one happen.
//!
//! The run tells what it waits for ([`Board`]); the [`Desk`] asks one question at a time and says what is to be posted to
//! the run. Always true:
//! - There is no default: an empty line asks again, and the end of input means "later".
//! - A line that was typed under one question never answers another, and what was typed before a question answers nothing.
//! - What is not shown whole is not allowed by one key: the call's id is to be typed too.
//! - Reading blocks a thread of its own and nothing else.

use std::{
    collections::HashSet,
    io,
    path::PathBuf,
    sync::{Arc, mpsc as blocking},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    agent::Agent,
    chat::CallId,
    engine,
    journal::What,
    run::{ApprovalReason, CallRecord, Decision, Resolution, Run, Wait},
};

use super::{
    editor::Draft,
    permit,
    screen::Screen,
    shown::{self, Amount, Shown},
    story,
    text::{Form, escape},
};

/// What a run waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Board {
    questions: Vec<Question>,
    /// Whether nothing but answers can bring the run forward.
    stuck: bool,
    /// The run, while it has questions.
    run: Option<Arc<Run>>,
    /// How many answers came to nothing so far: somebody else was faster, or they do not fit.
    ignored: u64,
}

#[derive(Debug, Clone)]
struct Question {
    key: Key,
    call: CallRecord,
    /// How many bytes of the call the person was not shown.
    hidden: usize,
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
    /// What `run` waits for, after so many answers that came to nothing.
    pub fn of(run: &Run, ignored: u64) -> Self {
        let want = run.next();
        let question = |wait: &Wait| {
            let (call, kind) = match wait {
                Wait::Approval(call) | Wait::Change(call) => {
                    let call = run.call(*call)?;
                    (call, Kind::Approval(call.asked.as_ref()?.reason))
                }
                Wait::Doubt(call) => (run.call(*call)?, Kind::Doubt),
                Wait::Input(_) | Wait::Other(_) => return None,
            };
            let key = Key { call: call.id, attempts: call.attempts, kind };
            Some(Question { key, call: call.clone(), hidden: 0 })
        };
        let person = |wait: &Wait| !matches!(wait, Wait::Other(_));
        let questions: Vec<_> = want.waiting.iter().filter_map(question).collect();
        Board {
            run: (!questions.is_empty()).then(|| Arc::new(run.clone())),
            questions,
            ignored,
            stuck: want.is_idle() && !want.waiting.is_empty() && want.waiting.iter().all(person),
        }
    }

    /// The call of each question, and what tells the question from another one about that call.
    pub fn marks(&self) -> impl Iterator<Item = (CallId, String)> {
        self.questions.iter().map(Question::mark)
    }
}

/// Where the person is asked.
pub(super) struct Desk {
    screen: Screen,
    agent: Arc<Agent>,
    /// The agent's file; `None` when nobody knows where it is.
    file: Option<PathBuf>,
    lines: Lines,
    /// The run as it stood when it last had questions.
    run: Option<Arc<Run>>,
    /// What somebody edits, and for which question; kept until that is answered.
    draft: Option<(Key, Draft)>,
    /// The editor, while it is open.
    session: Option<oneshot::Receiver<Result<Option<String>, String>>>,
    /// See [`Board::ignored`].
    ignored: u64,
    /// The question under which the next line is typed.
    open: Option<Question>,
    /// What was open before a line came that answers nothing any more.
    withdrawn: bool,
    later: HashSet<Key>,
    /// Questions whose answers are on their way to the run.
    answered: HashSet<Key>,
}

impl Desk {
    pub fn new(screen: Screen, agent: Arc<Agent>, file: Option<PathBuf>) -> Self {
        Desk {
            screen,
            agent,
            file,
            lines: Lines::default(),
            run: None,
            draft: None,
            session: None,
            ignored: 0,
            open: None,
            withdrawn: false,
            later: HashSet::new(),
            answered: HashSet::new(),
        }
    }

    /// Takes in what the run waits for now and asks the next question. Returns `false` when all questions were put off
    /// and nothing else can bring the run forward.
    pub fn look(&mut self, board: &Board) -> bool {
        self.run = board.run.clone().or(self.run.take());
        if board.ignored > self.ignored {
            // Why is told as progress; what still stands is asked again.
            self.ignored = board.ignored;
            self.answered.clear();
        }
        if let Some(open) = &self.open {
            let stands = board.questions.iter().any(|question| question.key == open.key);
            if !stands && !self.withdrawn {
                self.withdrawn = true;
                let enter = if self.session.is_some() { "" } else { "; press Enter" };
                self.screen.tell(format_args!("\n(this needs no answer any more{enter})"));
            }
            return true;
        }
        let put_off = |question: &&Question| self.later.contains(&question.key);
        let open = board.questions.iter().filter(|question| !self.answered.contains(&question.key));
        match open.into_iter().find(|question| !put_off(question)) {
            Some(question) => {
                let mut question = question.clone();
                self.withdrawn = false;
                let shown = question.shown(&self.run.clone().unwrap_or_default(), Amount::USUAL);
                question.hidden = shown.hidden;
                self.screen.ask_anew(shown.text, question.choices());
                self.open = Some(question);
                true
            }
            None => {
                let under_way = board.questions.iter().any(|question| self.answered.contains(&question.key));
                !board.stuck || under_way
            }
        }
    }

    /// The question that stands open, with its mark; see [`Board::marks`].
    pub fn asks(&self) -> Option<(CallId, String)> {
        self.open.as_ref().map(Question::mark)
    }

    /// What the person does next; never completes while nothing is asked. Nothing is lost when it is dropped.
    pub async fn hears(&mut self) -> Heard {
        match (&mut self.session, &self.open) {
            (Some(session), _) => {
                Heard::Edited(session.await.unwrap_or_else(|_| Err("the editor broke off".to_owned())))
            }
            (None, Some(_)) => Heard::Line(self.lines.next().await),
            (None, None) => std::future::pending().await,
        }
    }

    /// Waits until no line is being read any more, so that the next one is read by who asks next.
    pub async fn settle(&mut self) {
        if self.lines.reading {
            self.lines.next().await;
        }
    }

    /// What that means; `None` when it means nothing to the run.
    pub fn answer(&mut self, heard: Heard) -> Option<What> {
        match heard {
            Heard::Line(line) => self.typed(line.as_deref()),
            Heard::Edited(edited) => self.edited(edited),
        }
    }

    fn typed(&mut self, line: Option<&str>) -> Option<What> {
        let question = self.open.take()?;
        if std::mem::take(&mut self.withdrawn) {
            self.screen.answered();
            return None;
        }
        let Some(line) = line else {
            self.screen.answered();
            self.screen.tell("later");
            self.later.insert(question.key);
            return None;
        };
        match question.read(line) {
            Some(Answer::Post(what)) => Some(self.post(&question, what)),
            Some(Answer::Later) => {
                self.screen.answered();
                self.later.insert(question.key);
                None
            }
            Some(Answer::Write) => match self.write(&question) {
                Ok(what) => Some(self.post(&question, what)),
                Err(why) => self.again(question, &why),
            },
            Some(Answer::Edit) => match self.open_editor(&question) {
                Ok(()) => {
                    self.open = Some(question);
                    None
                }
                Err(why) => self.again(question, &why),
            },
            Some(Answer::Show) => {
                let shown = question.shown(&self.run.clone().unwrap_or_default(), Amount::ALL);
                let question = Question { hidden: shown.hidden, ..question };
                self.screen.ask_anew(shown.text, question.choices());
                self.open = Some(question);
                None
            }
            Some(Answer::Unseen) => {
                let call = question.key.call;
                let why = format!("a part of this call is not shown: see it with s, or type {call} behind that word");
                self.again(question, &why)
            }
            None => self.again(question, ""),
        }
    }

    /// The question is answered.
    fn post(&mut self, question: &Question, what: What) -> What {
        self.screen.answered();
        self.answered.insert(question.key);
        self.draft = None;
        what
    }

    /// The question still stands, for this reason if there is one.
    fn again(&mut self, question: Question, why: &str) -> Option<What> {
        if !why.is_empty() {
            self.screen.tell(format_args!("  {}", escape(why, Form::Text)));
        }
        self.screen.ask(question.choices());
        self.open = Some(question);
        None
    }

    /// Writes into the agent file that the tool needs no approval; this run, which has a copy of the file, is told the same.
    fn write(&self, question: &Question) -> Result<What, String> {
        let resolved = question.call.resolved.as_ref().ok_or("the call is not valid")?;
        let file = self.file.as_ref().ok_or("nobody knows where the agent file is")?;
        permit::write_allow(file, &resolved.origin)?;
        let (file, tool) = (file.display().to_string(), resolved.origin.to_string());
        let line = format!("{file} allows {tool} from now on");
        self.screen.tell(escape(&line, Form::Line));
        Ok(question.approval(Decision::Allow, true))
    }

    fn open_editor(&mut self, question: &Question) -> Result<(), String> {
        if self.draft.as_ref().is_none_or(|(key, _)| *key != question.key) {
            let draft = Draft::new(question.key.call, question.call.arguments());
            self.draft = Some((question.key, draft.map_err(|error| format!("cannot keep a draft: {error}"))?));
        }
        let Some((_, draft)) = &self.draft else { return Ok(()) };
        let (session, (tell, told)) = (draft.session(), oneshot::channel());
        self.screen.lend();
        // A thread of its own: the process does not wait for an editor when it ends.
        thread::spawn(move || tell.send(session()));
        self.session = Some(told);
        Ok(())
    }

    fn edited(&mut self, edited: Result<Option<String>, String>) -> Option<What> {
        self.session = None;
        self.screen.take_back();
        let question = self.open.take()?;
        if std::mem::take(&mut self.withdrawn) {
            self.screen.answered();
            if let (Ok(Some(_)), Some((_, draft))) = (edited, self.draft.take()) {
                self.screen.tell(format_args!("what you wrote is in {}", draft.keep().display()));
            }
            return None;
        }
        let arguments = match edited {
            Ok(Some(arguments)) => arguments,
            Ok(None) => return self.again(question, "nothing was changed"),
            Err(why) => return self.again(question, &why),
        };
        let run = self.run.clone().unwrap_or_default();
        match engine::check_arguments(&run, &self.agent, question.key.call, &arguments) {
            Ok(()) => {
                let what = question.approval(Decision::Edit(arguments.into()), false);
                Some(self.post(&question, what))
            }
            Err(why) => {
                self.again(question, &format!("these arguments cannot run: {why}\n  (edit again to mend them)"))
            }
        }
    }
}

/// Something that the person did.
pub(super) enum Heard {
    /// Typed a line; `None` at the end of input.
    Line(Option<String>),
    /// Left the editor: with other arguments, with none, or with trouble.
    Edited(Result<Option<String>, String>),
}

enum Answer {
    Post(What),
    Later,
    /// Change the arguments first.
    Edit,
    /// Allow it in the agent file.
    Write,
    /// Show all of it.
    Show,
    /// It would be allowed although a part of it was not shown.
    Unseen,
}

/// A call that waits for a word, as a question shows it.
pub(super) fn show(run: &Run, call: &CallRecord) -> Shown {
    let asked = call.asked.as_ref().map(|asked| Kind::Approval(asked.reason));
    let key = Key { call: call.id, attempts: call.attempts, kind: asked.unwrap_or(Kind::Doubt) };
    Question { key, call: call.clone(), hidden: 0 }.shown(run, Amount::USUAL)
}

impl Question {
    /// The call, and what tells this question from another one about it.
    fn mark(&self) -> (CallId, String) {
        let Question { key, call, .. } = self;
        let why = match key.kind {
            Kind::Approval(reason) => format!("{reason:?}"),
            Kind::Doubt => "Doubt".to_owned(),
        };
        let about = format!("{why} {} {}", key.attempts, call.arguments());
        (key.call, blake3::hash(about.as_bytes()).to_hex()[..16].to_owned())
    }

    fn shown(&self, run: &Run, amount: Amount) -> Shown {
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
        let shown = shown::arguments(run, call, amount);
        Shown { text: format!("{question}\n{}", shown.text), ..shown }
    }

    fn choices(&self) -> String {
        let choices = match self.key.kind {
            Kind::Approval(ApprovalReason::Policy) => {
                "  [o]nce, for this [r]un, [w]rite into the agent file, [e]dit, [d]eny (a reason may follow), [l]ater:"
            }
            // A rule for the tool would not answer these.
            Kind::Approval(_) => "  [o]nce, [e]dit, [d]eny (a reason may follow), [l]ater:",
            Kind::Doubt => "  it [h]appened, it did [n]ot, [r]etry it, [l]ater:",
        };
        if self.hidden == 0 {
            return choices.to_owned();
        }
        let (word, call) = (if self.key.kind == Kind::Doubt { "retry" } else { "once" }, self.key.call);
        let hidden = Shown { hidden: self.hidden, ..Shown::default() }.left_out();
        format!("  {hidden}: [s]how them; to have it run unseen, type its id too: {word} {call}\n{choices}")
    }

    /// What a line says; `None` when it is none of the choices.
    fn read(&self, line: &str) -> Option<Answer> {
        let call = self.key.call;
        let (word, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let word = word.to_lowercase();
        match &*word {
            "l" | "later" => return Some(Answer::Later),
            "s" | "show" if self.hidden > 0 => return Some(Answer::Show),
            _ => {}
        }
        // The call by its id stands behind a word that has it run; a reason stands behind others.
        let named = rest.trim() == call.to_string();
        let runs = match self.key.kind {
            Kind::Approval(_) => matches!(&*word, "o" | "once" | "y" | "yes" | "r" | "run" | "w" | "write"),
            Kind::Doubt => matches!(&*word, "r" | "retry"),
        };
        if runs && self.hidden > 0 && !named {
            return Some(Answer::Unseen);
        }
        let rest = if runs && named { "" } else { rest };
        let what = match self.key.kind {
            Kind::Approval(_) => {
                let reason = Some(rest.trim()).filter(|reason| !reason.is_empty()).map(str::to_owned);
                let rules = self.key.kind == Kind::Approval(ApprovalReason::Policy);
                match (&*word, reason) {
                    ("o" | "once" | "y" | "yes", None) => self.approval(Decision::Allow, false),
                    ("r" | "run", None) if rules => self.approval(Decision::Allow, true),
                    ("w" | "write", None) if rules => return Some(Answer::Write),
                    ("e" | "edit", None) => return Some(Answer::Edit),
                    ("d" | "deny" | "n" | "no", reason) => self.approval(Decision::Deny(reason), false),
                    _ => return None,
                }
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

    /// A decision about this call, and with `for_run` about its tool for the rest of the run.
    fn approval(&self, decision: Decision, for_run: bool) -> What {
        let tool = self.call.resolved.as_ref().map(|resolved| resolved.origin.to_string());
        let shown = self.call.arguments().clone();
        What::Approval { call: self.key.call, decision, shown, for_run: tool.filter(|_| for_run) }
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

/// One line from stdin; `None` at the end of input.
pub(super) fn read_line() -> Option<String> {
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
            lost: None,
            state: crate::run::CallState::Ready,
        };
        Question { key: Key { call: id, attempts: 0, kind }, call, hidden: 0 }
    }

    fn board(questions: &[Question]) -> Board {
        Board { questions: questions.to_vec(), stuck: true, run: None, ignored: 0 }
    }

    fn desk() -> Desk {
        let agent = Agent::parse("a.yaml", "version: 1\nname: a\nmodel: demo/any\n").unwrap();
        Desk::new(Screen::new(true), Arc::new(agent), None)
    }

    fn line(text: &str) -> Heard {
        Heard::Line(Some(text.to_owned()))
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
        let other = |line| question(Kind::Approval(ApprovalReason::HeldRepeat)).read(line);
        assert!(matches!(question(Kind::Approval(ApprovalReason::Policy)).read("w"), Some(Answer::Write)));
        assert!(matches!(other("edit"), Some(Answer::Edit)));
        assert!(other("run").is_none() && other("write").is_none(), "no rule answers this");
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
        let mut desk = desk();
        let board = board(&[question(Kind::Approval(ApprovalReason::Policy))]);
        assert!(desk.look(&board));
        assert!(desk.answer(line("nonsense")).is_none());
        assert!(desk.look(&board), "it is asked again");
        assert!(desk.answer(line("l")).is_none());
        assert!(!desk.look(&board));
    }

    #[test]
    fn an_answer_that_came_to_nothing_is_asked_for_again() {
        let mut desk = desk();
        let mut board = board(&[question(Kind::Approval(ApprovalReason::Policy))]);
        assert!(desk.look(&board));
        assert!(desk.answer(line("once")).is_some());
        assert!(desk.look(&board) && desk.open.is_none(), "the answer is on its way");
        board.ignored += 1;
        assert!(desk.look(&board) && desk.open.is_some());
    }

    #[test]
    fn what_cannot_be_written_or_edited_leaves_the_question_open() {
        let mut desk = desk();
        let board = board(&[question(Kind::Approval(ApprovalReason::Policy))]);
        assert!(desk.look(&board));
        assert_eq!(desk.answer(line("write")), None);
        assert!(desk.open.is_some());
        assert_eq!(desk.answer(Heard::Edited(Err("no editor".to_owned()))), None);
        assert_eq!(desk.answer(Heard::Edited(Ok(None))), None);
        assert_eq!(desk.answer(Heard::Edited(Ok(Some("{".to_owned())))), None);
        assert_eq!(decision(desk.answer(line("once"))), Some(Decision::Allow));
    }

    #[test]
    fn a_line_typed_under_a_withdrawn_question_answers_nothing() {
        let mut desk = desk();
        let (first, mut second) =
            (question(Kind::Approval(ApprovalReason::Policy)), question(Kind::Approval(ApprovalReason::Policy)));
        second.key.call.call = 3;
        assert!(desk.look(&board(&[first])));
        assert!(desk.look(&board(&[second.clone()])), "the line under the first question is waited for");
        assert_eq!(desk.answer(line("yes")), None);
        assert!(desk.look(&board(&[second])));
        assert_eq!(decision(desk.answer(line("yes"))), Some(Decision::Allow));
    }

    #[test]
    fn a_question_shows_everything_and_nothing_raw() {
        assert_eq!(
            question(Kind::Doubt).shown(&Run::default(), Amount::USUAL).text,
            "? files__write (unknown effect, t1c2) was sent, and its outcome is unknown\n  {\n    \"path\": \"a\\u001b[2J\",\n    \"text\": \"x,{y\"\n  }"
        );
    }
}
