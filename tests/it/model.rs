//! A model server that does as it is told: real HTTP/1.1 and server-sent events in the OpenAI chat format, written by
//! hand so that every byte is the test's.
//!
//! ```ignore
//! let model = Model::by_turn([
//!     Reply::call("files__read", json!({"path": "a.md"})).usage(100, 20),
//!     Reply::text("It says hello.").split(1),                 // byte by byte
//! ]);
//! // … run agentd with the base URL model.base_url(), in this process or in another …
//! assert_eq!(model.count(), 2);
//! model.assert_valid();
//! ```
//! It runs on a thread of its own, so that tests need no runtime and may block, and ends with the [`Model`]. Always true:
//! - A request is checked as the real service checks it ([`violations`]) before its reply is looked up; one that breaks
//!   a rule gets the real service's 400 and is remembered for [`Model::assert_valid`].
//! - Requests are remembered when they have arrived whole, in that order, before anything is replied.
#![allow(dead_code, reason = "a tool box: not every test needs every tool")]

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc as commands, watch},
    task::JoinSet,
};

/// How long [`Model::wait_for`] waits before it gives the test up. Far beyond what any test needs on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running model server.
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
    commands: commands::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many came before it.
    pub n: usize,
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as JSON; null when it is none.
    pub body: Value,
    /// The body's exact bytes.
    pub bytes: Vec<u8>,
}

/// The text of a message, whether it stands as such or in parts.
pub fn text(message: &Value) -> String {
    match &message["content"] {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        content => content.as_str().unwrap_or_default().to_owned(),
    }
}

impl Request {
    /// Whether it asks for the list of models.
    fn is_list(&self) -> bool {
        self.method == "GET" && self.path == "/v1/models"
    }

    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The messages.
    pub fn messages(&self) -> &[Value] {
        self.body["messages"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// How many answers the conversation holds: the turn, counted from zero. An answer whose only call could not be shown again
    /// stands there as what we say of it.
    pub fn answers(&self) -> usize {
        let count = |message: &Value| match message["role"].as_str() {
            Some("assistant") => 1,
            _ => text(message).matches("Your call of \"").count(),
        };
        self.messages().iter().map(count).sum()
    }

    /// The text of the last message: what the user said, or a tool's result.
    pub fn last(&self) -> &str {
        self.messages().last().and_then(|message| message["content"].as_str()).unwrap_or_default()
    }

    /// The contents of the tool results behind the last answer, in order.
    pub fn results(&self) -> Vec<&str> {
        let newest = self.messages().iter().rev().take_while(|message| message["role"] != "assistant");
        let results = newest.filter(|message| message["role"] == "tool");
        let mut results: Vec<_> = results.filter_map(|message| message["content"].as_str()).collect();
        results.reverse();
        results
    }

    /// The names of the tools on offer.
    pub fn tools(&self) -> Vec<&str> {
        let tools = self.body["tools"].as_array().into_iter().flatten();
        tools.filter_map(|tool| tool["function"]["name"].as_str()).collect()
    }
}

type Chooser = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

type Judge = fn(&Request) -> Result<(), Box<Refusal>>;

/// Why a server will have nothing of a request.
pub struct Refusal {
    /// What it answers.
    pub reply: Reply,
    /// The rules of the format that the request breaks, for [`Model::assert_valid`]; none when the fault is another.
    pub violations: Vec<String>,
}

struct Shared {
    judge: Judge,
    chooser: Mutex<Chooser>,
    log: Mutex<Log>,
    changed: Condvar,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    violations: Vec<String>,
    connections: usize,
    hang_ups: usize,
    key: Option<String>,
    models: Vec<Value>,
}

enum Command {
    Listen(bool, mpsc::Sender<()>),
}

impl Model {
    /// The n-th request gets the n-th reply; what comes after the last, status 500.
    pub fn replying(replies: impl IntoIterator<Item = Reply>) -> Self {
        let mut replies: VecDeque<_> = replies.into_iter().collect();
        Self::choosing(Box::new(move |_| replies.pop_front()))
    }

    /// The conversation decides: with n answers in it, the reply at place n. As often as asked, so that a run which was
    /// killed and resumed gets the same again.
    pub fn by_turn(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies: Vec<_> = replies.into_iter().collect();
        Self::choosing(Box::new(move |request| replies.get(request.answers()).cloned()))
    }

    /// Whatever this makes of a request.
    pub fn answering(mut choose: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::choosing(Box::new(move |request| Some(choose(request))))
    }

    fn choosing(chooser: Chooser) -> Self {
        Self::judged(openai, chooser)
    }

    /// A server of another format: it takes what this judge takes.
    pub fn judged(judge: Judge, chooser: Chooser) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { judge, chooser: Mutex::new(chooser), log: Mutex::default(), changed: Condvar::new() });
        let (commands, inbox) = commands::unbounded_channel();
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(serve(listener, address, shared, inbox));
            }
        });
        Model { address, shared, commands, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT/v1`
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on requests need this key.
    pub fn require_key(&self, key: &str) {
        self.shared.log().key = Some(key.to_owned());
    }

    /// What the list of models says, an entry a model.
    pub fn lists(&self, models: impl IntoIterator<Item = Value>) {
        self.shared.log().models = models.into_iter().collect();
    }

    /// All requests so far, but for those of the list of models.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().requests.clone()
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.shared.log().requests.len()
    }

    /// How many connections have been made.
    pub fn connections(&self) -> usize {
        self.shared.log().connections
    }

    /// How often a client closed the connection before its reply was whole.
    pub fn hang_ups(&self) -> usize {
        self.shared.log().hang_ups
    }

    /// What was wrong with requests.
    pub fn violations(&self) -> Vec<String> {
        self.shared.log().violations.clone()
    }

    /// Fails the test if any request broke a rule of the format.
    #[track_caller]
    pub fn assert_valid(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "the real service would refuse this:\n{}", violations.join("\n"));
    }

    /// Blocks until `requests` have come. Not for a runtime with one thread that also runs the client: see
    /// [`Model::has_come`].
    #[track_caller]
    pub fn wait_for(&self, requests: usize) {
        self.wait(&format!("{requests} requests"), |log| log.requests.len() >= requests);
    }

    /// Blocks until clients have hung up so often.
    #[track_caller]
    pub fn wait_for_hang_ups(&self, hang_ups: usize) {
        self.wait(&format!("{hang_ups} hang-ups"), |log| log.hang_ups >= hang_ups);
    }

    #[track_caller]
    fn wait(&self, what: &str, done: impl Fn(&Log) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut log = self.shared.log();
        while !done(&log) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {what}, and only {} requests came", log.requests.len());
            log = self.shared.changed.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same for async tests.
    pub async fn has_come(&self, requests: usize) {
        while self.count() < requests {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Refuses connections from now on, and cuts those that there are: the server is down.
    pub fn go_down(&self) {
        self.listen(false);
    }

    /// Listens again, at the same address.
    pub fn come_back(&self) {
        self.listen(true);
    }

    fn listen(&self, on: bool) {
        let (done, wait) = mpsc::channel();
        self.commands.send(Command::Listen(on, done)).unwrap();
        wait.recv().unwrap();
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // The thread ends with its channel.
        self.commands = commands::unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A base URL at which connections are refused.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, change: impl FnOnce(&mut Log)) {
        change(&mut self.log());
        self.changed.notify_all();
    }

    fn reply(&self, request: &Request) -> Reply {
        let key = self.log().key.clone();
        if key.is_some_and(|key| request.header("authorization") != Some(&format!("Bearer {key}"))) {
            return Reply::error(401, "Incorrect API key provided", "invalid_api_key");
        }
        if request.is_list() {
            return Reply::json(200, &json!({"object": "list", "data": self.log().models}));
        }
        if let Err(refusal) = (self.judge)(request) {
            let Refusal { reply, violations } = *refusal;
            let n = request.n;
            self.note(|log| log.violations.extend(violations.into_iter().map(|text| format!("request {n}: {text}"))));
            return reply;
        }
        let mut chooser = self.chooser.lock().unwrap_or_else(PoisonError::into_inner);
        chooser(request).unwrap_or_else(|| Reply::error(500, "the test has no reply left", "server_error"))
    }
}

/// The judge of this format.
fn openai(request: &Request) -> Result<(), Box<Refusal>> {
    if request.method != "POST" || !request.path.starts_with("/v1/chat/completions") {
        let message = format!("Unknown request URL: {} {}", request.method, request.path);
        return Err(Box::new(Refusal { reply: Reply::error(404, &message, "unknown_url"), violations: Vec::new() }));
    }
    let violations = violations(&request.body);
    if violations.is_empty() {
        return Ok(());
    }
    Err(Box::new(Refusal { reply: Reply::error(400, &violations.join("; "), "invalid_request_error"), violations }))
}

async fn serve(
    listener: std::net::TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    mut inbox: commands::UnboundedReceiver<Command>,
) {
    let mut listener = Some(TcpListener::from_std(listener).unwrap());
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => {
                let (stream, _) = accepted.unwrap();
                shared.note(|log| log.connections += 1);
                connections.spawn(converse(stream, shared.clone()));
            }
            command = inbox.recv() => match command {
                Some(Command::Listen(on, done)) => {
                    if on && listener.is_none() {
                        let socket = TcpSocket::new_v4().unwrap();
                        socket.set_reuseaddr(true).unwrap();
                        socket.bind(address).unwrap();
                        listener = Some(socket.listen(1024).unwrap());
                    } else if !on {
                        listener = None;
                        connections.shutdown().await;
                    }
                    let _ = done.send(());
                }
                None => return,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, request after request.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(mut request) = receive(&mut stream, &mut buffer).await {
        // Who looks at the list of models asks for no answer.
        if !request.is_list() {
            shared.note(|log| {
                request.n = log.requests.len();
                log.requests.push(request.clone());
            });
        }
        let reply = shared.reply(&request);
        let steps = reply.steps(&request);
        match perform(&mut stream, steps).await {
            Ok(Next::Request) => {}
            Ok(Next::Close) => return,
            Err(HungUp) => return shared.note(|log| log.hang_ups += 1),
        }
    }
}

async fn receive(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (first.next()?, first.next()?);
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let bytes = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Some(Request { n: 0, method, path, headers, body, bytes })
}

enum Next {
    Request,
    Close,
}

struct HungUp;

async fn perform(stream: &mut TcpStream, steps: Vec<Step>) -> Result<Next, HungUp> {
    for step in steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await.map_err(|_| HungUp)?,
            Step::Wait(duration) => unless_hung_up(stream, tokio::time::sleep(duration)).await?,
            Step::Hold(gate) => unless_hung_up(stream, gate.opened()).await?,
            Step::Stall => unless_hung_up(stream, std::future::pending::<()>()).await?,
            Step::Close => {
                let _ = stream.shutdown().await;
                return Ok(Next::Close);
            }
            Step::Reset => {
                let _ = stream.set_zero_linger();
                return Ok(Next::Close);
            }
        }
    }
    Ok(Next::Request)
}

/// Waits, but no longer than the client does.
async fn unless_hung_up(stream: &TcpStream, wait: impl Future<Output = ()>) -> Result<(), HungUp> {
    let gone = async {
        loop {
            let mut byte = [0];
            match stream.peek(&mut byte).await {
                Ok(0) | Err(_) => return,
                // The next request, sent ahead: look again a little later.
                Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::select! {
        () = wait => Ok(()),
        () = gone => Err(HungUp),
    }
}

/// Holds replies back until it is opened. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Gate(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through, for good.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn opened(self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// What the server does with one request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    framing: Framing,
    /// Before the head.
    before: Vec<Step>,
    /// Bytes of the body in one piece; 0 for an event a piece.
    piece: usize,
    /// Between pieces.
    pace: Option<Duration>,
    /// What happens instead of the rest of the body, and after how many bytes of it.
    fault: Option<(After, Step)>,
}

#[derive(Debug, Clone)]
enum Body {
    Answer(Answer),
    /// Pieces, exactly.
    Bytes(Vec<Vec<u8>>),
    /// Bytes in place of the whole HTTP response.
    Raw(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Chunked,
    /// With this length instead of the right one.
    Length(Option<usize>),
    /// Neither: the body ends with the connection.
    UntilClose,
}

#[derive(Debug, Clone)]
enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    Hold(Gate),
    Stall,
    Close,
    Reset,
}

#[derive(Debug, Clone, Copy)]
enum After {
    Bytes(usize),
    Pieces(usize),
}

/// A good answer.
#[derive(Debug, Clone, Default)]
struct Answer {
    reasoning: Option<String>,
    text: Option<String>,
    /// Names and arguments.
    calls: Vec<(String, String)>,
    finish: Option<String>,
    usage: Option<Value>,
    /// No end mark.
    endless: bool,
}

impl Reply {
    /// An answer to add to.
    pub fn answer() -> Self {
        Self::new(200, Body::Answer(Answer::default())).header("content-type", "text/event-stream")
    }

    /// An answer with this text.
    pub fn text(text: &str) -> Self {
        Self::answer().and_text(text)
    }

    /// An answer with this call.
    pub fn call(name: &str, arguments: Value) -> Self {
        Self::answer().and_call(name, arguments)
    }

    /// An answer with these calls, to be made in parallel.
    pub fn calls<'a>(calls: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        calls.into_iter().fold(Self::answer(), |reply, (name, arguments)| reply.and_call(name, arguments))
    }

    /// An answer with a call whose arguments stand exactly so.
    pub fn raw_call(name: &str, arguments: &str) -> Self {
        Self::answer().and_raw_call(name, arguments)
    }

    /// These chunks as events, then the end mark.
    pub fn chunks(chunks: impl IntoIterator<Item = Value>) -> Self {
        let mut pieces: Vec<_> = chunks.into_iter().map(|chunk| event(&chunk)).collect();
        pieces.push(DONE.to_vec());
        Self::new(200, Body::Bytes(pieces)).header("content-type", "text/event-stream")
    }

    /// A stream with exactly these bytes.
    pub fn stream(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(200, Body::Bytes(vec![bytes.into()])).header("content-type", "text/event-stream")
    }

    /// This status and JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::body(status, "application/json", body.to_string())
    }

    /// This status and body.
    pub fn body(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let reply = Self::new(status, Body::Bytes(vec![body.into()])).header("content-type", content_type);
        Reply { framing: Framing::Length(None), ..reply }
    }

    /// An error as OpenAI words it.
    pub fn error(status: u16, message: &str, code: &str) -> Self {
        Self::json(status, &json!({"error": {"message": message, "type": code, "param": null, "code": code}}))
    }

    /// This status and nothing else.
    pub fn status(status: u16) -> Self {
        Self::body(status, "text/plain", "")
    }

    /// To another place.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// These bytes in place of HTTP, and then the end.
    pub fn garbage(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(200, Body::Raw(bytes.into()))
    }

    /// Never anything, with the connection open.
    pub fn silence() -> Self {
        Self { before: vec![Step::Stall], ..Self::status(200) }
    }

    /// A reset connection instead of any reply.
    pub fn reset() -> Self {
        Self { before: vec![Step::Reset], ..Self::status(200) }
    }

    /// A closed connection instead of any reply.
    pub fn closed() -> Self {
        Self { before: vec![Step::Close], ..Self::status(200) }
    }

    fn new(status: u16, body: Body) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body,
            framing: Framing::Chunked,
            before: Vec::new(),
            piece: 0,
            pace: None,
            fault: None,
        }
    }

    /// Text before the calls.
    pub fn and_text(self, text: &str) -> Self {
        self.edit(|answer| answer.text = Some(text.to_owned()))
    }

    /// Thinking before everything.
    pub fn and_reasoning(self, text: &str) -> Self {
        self.edit(|answer| answer.reasoning = Some(text.to_owned()))
    }

    /// One more call.
    pub fn and_call(self, name: &str, arguments: Value) -> Self {
        self.and_raw_call(name, &arguments.to_string())
    }

    /// One more call whose arguments stand exactly so.
    pub fn and_raw_call(self, name: &str, arguments: &str) -> Self {
        self.edit(|answer| answer.calls.push((name.to_owned(), arguments.to_owned())))
    }

    /// Another reason for stopping than what fits; `""` for none.
    pub fn finish(self, reason: &str) -> Self {
        self.edit(|answer| answer.finish = Some(reason.to_owned()))
    }

    /// Other tokens than 10 read and 5 written.
    pub fn usage(self, input: u64, output: u64) -> Self {
        let usage = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
        self.edit(|answer| answer.usage = Some(usage))
    }

    /// No word on tokens.
    pub fn no_usage(self) -> Self {
        self.edit(|answer| answer.usage = Some(Value::Null))
    }

    /// No end mark.
    pub fn no_done(self) -> Self {
        self.edit(|answer| answer.endless = true)
    }

    fn edit(mut self, change: impl FnOnce(&mut Answer)) -> Self {
        match &mut self.body {
            Body::Answer(answer) => change(answer),
            _ => panic!("only answers have parts"),
        }
        self
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The body in pieces of so many bytes, each written on its own.
    pub fn split(self, bytes: usize) -> Self {
        Reply { piece: bytes, ..self }
    }

    /// A pause between the pieces of the body.
    pub fn pace(self, pause: Duration) -> Self {
        Reply { pace: Some(pause), ..self }
    }

    /// A pause before anything is sent.
    pub fn delay(mut self, pause: Duration) -> Self {
        self.before.push(Step::Wait(pause));
        self
    }

    /// Nothing is sent before the gate opens.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.before.push(Step::Hold(gate.clone()));
        self
    }

    /// The head, so many bytes of the body, and then nothing more, with the connection open.
    pub fn stall_after(self, bytes: usize) -> Self {
        Reply { fault: Some((After::Bytes(bytes), Step::Stall)), ..self }
    }

    /// The same, counted in events.
    pub fn stall_after_events(self, events: usize) -> Self {
        Reply { fault: Some((After::Pieces(events), Step::Stall)), ..self }
    }

    /// The same until the gate opens; then the rest.
    pub fn hold_after_events(self, events: usize, gate: &Gate) -> Self {
        Reply { fault: Some((After::Pieces(events), Step::Hold(gate.clone()))), ..self }
    }

    /// The head, so many bytes of the body, and then the connection is closed as if that were all.
    pub fn cut_after(self, bytes: usize) -> Self {
        Reply { fault: Some((After::Bytes(bytes), Step::Close)), ..self }
    }

    /// The same, counted in events.
    pub fn cut_after_events(self, events: usize) -> Self {
        Reply { fault: Some((After::Pieces(events), Step::Close)), ..self }
    }

    /// The head, so many bytes of the body, and then the connection is reset.
    pub fn reset_after(self, bytes: usize) -> Self {
        Reply { fault: Some((After::Bytes(bytes), Step::Reset)), ..self }
    }

    /// The same, counted in events.
    pub fn reset_after_events(self, events: usize) -> Self {
        Reply { fault: Some((After::Pieces(events), Step::Reset)), ..self }
    }

    /// With a content length that is a lie.
    pub fn claiming(self, length: usize) -> Self {
        Reply { framing: Framing::Length(Some(length)), ..self }
    }

    /// Without a length: the body ends with the connection, as with servers of HTTP/1.0.
    pub fn until_close(self) -> Self {
        Reply { framing: Framing::UntilClose, ..self }
    }

    /// All that is to be done for a request.
    fn steps(self, request: &Request) -> Vec<Step> {
        let mut steps = self.before;
        let (pieces, content_type) = match self.body {
            Body::Raw(bytes) => {
                steps.extend([Step::Send(bytes), Step::Close]);
                return steps;
            }
            Body::Bytes(pieces) => (pieces, None),
            Body::Answer(answer) if request.body["stream"] == true => (answer.events(request), None),
            Body::Answer(answer) => (vec![answer.document(request)], Some("application/json")),
        };
        let pieces: Vec<Vec<u8>> = match self.piece {
            0 => pieces,
            size => pieces.concat().chunks(size).map(<[u8]>::to_vec).collect(),
        };
        let length = pieces.iter().map(Vec::len).sum::<usize>();
        let mut head = format!("HTTP/1.1 {} Told\r\n", self.status);
        for (name, value) in &self.headers {
            let value = if name == "content-type" { content_type.unwrap_or(value) } else { value };
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&match self.framing {
            Framing::Chunked => "transfer-encoding: chunked\r\n\r\n".to_owned(),
            Framing::Length(claimed) => format!("content-length: {}\r\n\r\n", claimed.unwrap_or(length)),
            Framing::UntilClose => "connection: close\r\n\r\n".to_owned(),
        });
        steps.push(Step::Send(head.into_bytes()));

        let frame = |piece: &[u8]| match self.framing {
            Framing::Chunked if piece.is_empty() => Vec::new(),
            Framing::Chunked => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
            _ => piece.to_vec(),
        };
        let mut fault = self.fault;
        let mut sent = 0;
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0
                && let Some(pace) = self.pace
            {
                steps.push(Step::Wait(pace));
            }
            let at = match &fault {
                Some((After::Pieces(count), _)) if n == *count => Some(0),
                Some((After::Bytes(count), _)) if sent + piece.len() > *count => Some(count - sent),
                _ => None,
            };
            match at.and_then(|at| Some((at, fault.take()?.1))) {
                None => steps.push(Step::Send(frame(piece))),
                Some((at, step)) => {
                    let goes_on = matches!(step, Step::Hold(_));
                    steps.extend([Step::Send(frame(&piece[..at])), step]);
                    if !goes_on {
                        return steps;
                    }
                    steps.push(Step::Send(frame(&piece[at..])));
                }
            }
            sent += piece.len();
        }
        // A fault behind the last byte strikes before the end of the body.
        steps.extend(fault.map(|(_, step)| step));
        match self.framing {
            Framing::Chunked => steps.push(Step::Send(b"0\r\n\r\n".to_vec())),
            Framing::Length(None) => {}
            Framing::Length(Some(_)) | Framing::UntilClose => steps.push(Step::Close),
        }
        steps
    }
}

const DONE: &[u8] = b"data: [DONE]\n\n";

fn event(chunk: &Value) -> Vec<u8> {
    format!("data: {chunk}\n\n").into_bytes()
}

impl Answer {
    fn finish(&self) -> Value {
        match (self.finish.as_deref(), self.calls.is_empty()) {
            (Some(""), _) => Value::Null,
            (Some(reason), _) => reason.into(),
            (None, true) => "stop".into(),
            (None, false) => "tool_calls".into(),
        }
    }

    fn usage(&self) -> Value {
        self.usage.clone().unwrap_or_else(|| json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}))
    }

    /// As OpenAI streams it: the role, text word by word, each call's name and then its arguments in pieces, the
    /// reason, the tokens, the end mark.
    fn events(&self, request: &Request) -> Vec<Vec<u8>> {
        let chunk = |delta: Value, finish: Value| {
            event(&json!({
                "id": format!("chatcmpl-{}", request.n), "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": request.body["model"], "system_fingerprint": null,
                "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}],
            }))
        };
        let delta = |delta: Value| chunk(delta, Value::Null);
        let mut events = vec![delta(
            json!({"role": "assistant", "content": if self.text.is_some() { json!("") } else { Value::Null }}),
        )];
        events.extend(words(self.reasoning.as_deref()).map(|word| delta(json!({"reasoning_content": word}))));
        events.extend(words(self.text.as_deref()).map(|word| delta(json!({"content": word}))));
        for (index, (name, arguments)) in self.calls.iter().enumerate() {
            let id = call_id(request, index);
            events.push(delta(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]})));
            let pieces = arguments.chars().collect::<Vec<_>>();
            for piece in pieces.chunks(12) {
                let piece: String = piece.iter().collect();
                events.push(delta(json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})));
            }
        }
        events.push(chunk(json!({}), self.finish()));
        if request.body["stream_options"]["include_usage"] == true && !self.usage().is_null() {
            events.push(event(&json!({
                "id": format!("chatcmpl-{}", request.n), "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": request.body["model"], "choices": [], "usage": self.usage(),
            })));
        }
        if !self.endless {
            events.push(DONE.to_vec());
        }
        events
    }

    fn document(&self, request: &Request) -> Vec<u8> {
        let calls = self.calls.iter().enumerate().map(|(index, (name, arguments))| {
            json!({"id": call_id(request, index), "type": "function", "function": {"name": name, "arguments": arguments}})
        });
        let mut message = json!({"role": "assistant", "content": self.text, "refusal": null});
        if !self.calls.is_empty() {
            message["tool_calls"] = calls.collect();
        }
        json!({
            "id": format!("chatcmpl-{}", request.n), "object": "chat.completion", "created": 1_700_000_000,
            "model": request.body["model"], "usage": self.usage(),
            "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": self.finish()}],
        })
        .to_string()
        .into_bytes()
    }
}

fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    text.unwrap_or_default().split_inclusive(' ')
}

fn call_id(request: &Request, index: usize) -> String {
    format!("call_{}x{index}", request.n)
}

/// What the real service would refuse in a request (platform.openai.com/docs/api-reference/chat, and what Mistral,
/// Anthropic's and Gemini's endpoints of the format refuse beyond it; 2026-11). Empty for a good one.
pub fn violations(body: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut rule = |kept: bool, text: &str| {
        if !kept {
            found.push(text.to_owned());
        }
    };
    rule(body.is_object(), "the body is no JSON object");
    rule(body["model"].as_str().is_some_and(|model| !model.is_empty()), "model is missing");
    rule(body.get("stream_options").is_none() || body["stream"] == true, "stream_options need stream");

    let is_name = |name: &Value| {
        let letters = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        name.as_str().is_some_and(|name| (1..=64).contains(&name.len()) && letters(name))
    };
    let mut offered = HashSet::new();
    if let Some(tools) = body.get("tools") {
        rule(tools.as_array().is_some_and(|tools| !tools.is_empty()), "tools must not be empty");
        for tool in tools.as_array().into_iter().flatten() {
            let function = &tool["function"];
            rule(tool["type"] == "function", "a tool's type must be function");
            rule(
                is_name(&function["name"]),
                &format!("tool name {} does not match ^[a-zA-Z0-9_-]{{1,64}}$", function["name"]),
            );
            rule(
                offered.insert(function["name"].to_string()),
                &format!("tool name {} is not unique", function["name"]),
            );
            let parameters = &function["parameters"];
            rule(parameters["type"] == "object", "a tool's parameters must be of type object");
            rule(parameters["properties"].is_object(), "a tool's parameters are an object without properties");
            rule(function.get("description").is_none_or(Value::is_string), "a tool's description must be text");
            if function["strict"] == true
                && let Err(why) = crate::vendor::responses::strict(parameters)
            {
                rule(false, &format!("a strict tool's schema: {why}"));
            }
        }
    }
    if let Some(choice) = body.get("tool_choice").filter(|choice| choice.is_object()) {
        rule(offered.contains(&choice["function"]["name"].to_string()), "tool_choice names a tool that is not offered");
    }
    if let Some(format) = body.get("response_format") {
        rule(format["type"] != "json_schema" || is_name(&format["json_schema"]["name"]), "response_format has no name");
        rule(
            format["type"] != "json_schema" || format["json_schema"]["schema"].is_object(),
            "response_format has no schema",
        );
    }

    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    rule(!messages.is_empty(), "messages must not be empty");
    let mut open: Vec<&Value> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let mut rule = |kept: bool, text: &str| rule(kept, &format!("messages[{at}]: {text}"));
        let role = message["role"].as_str().unwrap_or_default();
        if role != "tool" {
            rule(open.is_empty(), &format!("the calls {open:?} before it have no result"));
            open.clear();
        }
        let texts = match &message["content"] {
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(parts) => {
                !parts.is_empty()
                    && parts.iter().all(|part| {
                        part["type"] != "text" || part["text"].as_str().is_some_and(|text| !text.trim().is_empty())
                    })
            }
            _ => false,
        };
        match role {
            "system" | "developer" => {
                rule(at == 0, "the system speaks first");
                rule(texts, "content must not be empty");
            }
            "user" => {
                rule(texts, "content must not be empty");
                rule(at == 0 || messages[at - 1]["role"] != "user", "two messages of the user in a row");
            }
            "assistant" => {
                let calls = message["tool_calls"].as_array().map(Vec::as_slice).unwrap_or_default();
                rule(message.get("tool_calls").is_none() || !calls.is_empty(), "tool_calls must not be empty");
                rule(texts || (!calls.is_empty() && message["content"].is_null()), "neither content nor tool_calls");
                rule(
                    messages.iter().take(at).any(|message| message["role"] == "user"),
                    "an answer before any question",
                );
                for call in calls {
                    rule(call["type"] == "function", "a call's type must be function");
                    rule(is_name(&call["function"]["name"]), "a call's name does not match ^[a-zA-Z0-9_-]{1,64}$");
                    let id = call["id"].as_str().unwrap_or_default();
                    let letters = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                    rule((1..=64).contains(&id.len()) && letters, "a call's id does not match ^[a-zA-Z0-9_-]{1,64}$");
                    rule(!open.contains(&&call["id"]), "a call's id is not unique");
                    let arguments = call["function"]["arguments"].as_str().unwrap_or_default();
                    rule(
                        serde_json::from_str::<Value>(arguments).is_ok_and(|value| value.is_object()),
                        "a call's arguments are no JSON object",
                    );
                    open.push(&call["id"]);
                }
            }
            "tool" => {
                let id = &message["tool_call_id"];
                let answers = open.iter().position(|call| *call == id);
                rule(answers.is_some(), &format!("a result of {id}, which is no open call before it"));
                rule(texts, "content must not be empty");
                let is_text = |part: &Value| part["type"] == "text";
                rule(
                    message["content"].as_array().is_none_or(|parts| parts.iter().all(is_text)),
                    "a result can only be text",
                );
                if let Some(at) = answers {
                    open.remove(at);
                }
            }
            role => rule(false, &format!("unknown role {role:?}")),
        }
    }
    rule(open.is_empty(), &format!("the calls {open:?} have no result"));
    rule(messages.last().is_none_or(|last| last["role"] != "assistant"), "the last word is the assistant's");
    found
}
