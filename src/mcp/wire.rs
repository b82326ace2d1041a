//! The lines between us and a server: one JSON-RPC message a line, written strictly and read forgivingly.
//!
//! It is rmcp's transport for pipes, in place of rmcp's own, because three things can only be done here:
//! - To know whether a call has reached the server: a [`Ticket`] travels with each call and is stamped when its
//!   first byte is about to be written. Until then it can be withdrawn, and then it is never written.
//! - To hand on results as they are. rmcp types a whole result or nothing; one tool without a schema would cost all
//!   tools. So results of listings leave here as [`CustomResult`], whatever is in them. What came back for a call is put on
//!   its [`Ticket`] as text, since a parsed one would lose the digits of long numbers.
//! - To answer for lines that cannot be read but say which request they answer. Otherwise their request would wait for
//!   its timeout. What is nearly JSON is made JSON (`salvage`), and of a line that is too long the start is kept.
//!
//! Lines that are no JSON-RPC (banners, logs) and answers to nothing that was asked are skipped. Memory is bounded by one
//! line of [`LINE_BYTES_MAX`]. When the process has ended, what is left in the pipe is read and then the end is
//! reported, even if something keeps the pipe open.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use rmcp::{
    RoleClient,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData, GetMeta,
        JsonRpcMessage, NumberOrString, ProgressToken, RequestId, RequestMetaObject, ServerJsonRpcMessage,
        ServerNotification, ServerResult,
    },
    transport::Transport,
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Progress, members::Members, salvage::salvage};
use crate::json;

/// Longest line that is read; what rmcp allows (`DEFAULT_MAX_LINE_LENGTH`, 3.9).
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much of the end of a longer line is kept beside its start, and how much of a start may hold an id.
const ENDS_BYTES: usize = 256;

/// How much of the line buffer stays allocated between lines.
const BUFFER_BYTES_KEPT: usize = 64 * 1024;

/// How long the rest of a dead process's output may take to be read.
const DRAIN: Duration = Duration::from_millis(200);

/// Progress that may wait to be told; more is dropped, which only costs a line on a screen.
const PROGRESS_MAX: usize = 16;

/// The id of a probe: a number, as some servers take nothing else, and one that rmcp, counting from 0, does not reach.
pub(super) const PROBE: RequestId = NumberOrString::Number(1 << 30);

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// One connection to a server.
pub(super) struct Wire {
    read: BufReader<Reader>,
    line: Line,
    write: Arc<tokio::sync::Mutex<Option<Writer>>>,
    asked: Asked,
    process_ended: CancellationToken,
    drained: Option<Instant>,
    late_probe: Arc<AtomicBool>,
}

impl Wire {
    /// A wire over two pipes to a process; `process_ended` is cancelled when that has ended.
    pub fn new(
        read: impl AsyncRead + Send + Unpin + 'static,
        write: impl AsyncWrite + Send + Unpin + 'static,
        process_ended: CancellationToken,
    ) -> Self {
        Wire {
            read: BufReader::new(Box::new(read)),
            line: Line::default(),
            write: Arc::new(tokio::sync::Mutex::new(Some(Box::new(write)))),
            asked: Asked::default(),
            process_ended,
            drained: None,
            late_probe: Arc::default(),
        }
    }

    /// Set once a [`PROBE`] that nobody waits for any more has been answered with a result.
    pub fn late_probe(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.late_probe)
    }

    /// Stops waiting for the answer to the [`PROBE`].
    pub fn give_up_probe(&self) {
        self.asked.with(&PROBE, |question| question.kind = Kind::LateProbe);
    }

    /// The next line that is worth reading, in `self.line`; `None` at the end.
    async fn read_line(&mut self) -> Option<()> {
        loop {
            let length = self.fill().await?;
            let chunk = &self.read.buffer()[..length];
            let newline = chunk.iter().position(|byte| *byte == b'\n');
            self.line.push(&chunk[..newline.unwrap_or(length)]);
            self.read.consume(newline.map_or(length, |at| at + 1));
            if newline.is_some() {
                return Some(());
            }
        }
    }

    /// Waits for bytes; their number, or `None` at the end. Nothing is lost if the future is dropped.
    async fn fill(&mut self) -> Option<usize> {
        let until = match self.drained {
            Some(until) => until,
            None => {
                tokio::select! {
                    biased;
                    filled = self.read.fill_buf() => return filled.ok().map(<[u8]>::len).filter(|length| *length > 0),
                    () = self.process_ended.cancelled() => *self.drained.insert(Instant::now() + DRAIN),
                }
            }
        };
        if self.read.buffer().is_empty() && Instant::now() > until {
            return None;
        }
        let filled = tokio::time::timeout_at(until, self.read.fill_buf()).await;
        filled.ok()?.ok().map(<[u8]>::len).filter(|length| *length > 0)
    }
}

impl Transport<RoleClient> for Wire {
    type Error = io::Error;

    fn send(&mut self, message: ClientJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let write = Arc::clone(&self.write);
        let asked = self.asked.clone();
        async move {
            let (line, ticket) = encode(&message, &asked)?;
            let mut write = write.lock().await;
            let Some(write) = write.as_mut() else { return Err(io::ErrorKind::NotConnected.into()) };
            if ticket.is_some_and(|ticket| !ticket.stamp(Stamp::Sent)) {
                return Err(io::Error::other("withdrawn"));
            }
            write.write_all(&line).await?;
            write.flush().await
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            self.read_line().await?;
            let message = decode(&self.line, &self.asked, &self.late_probe);
            self.line.clear();
            if message.is_some() {
                return message;
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // A server that reads nothing may block a writer for ever; that one lets go when rmcp drops it.
        if let Ok(mut write) = self.write.try_lock() {
            write.take();
        }
        Ok(())
    }
}

/// A line as it comes in. Of one that is too long the start and the last bytes are kept.
#[derive(Default)]
struct Line {
    /// The line, or the first [`LINE_BYTES_MAX`] of one that is too long.
    head: Vec<u8>,
    /// The end of one that is too long.
    tail: Vec<u8>,
    too_long: bool,
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let (bytes, beyond) = bytes.split_at(bytes.len().min(LINE_BYTES_MAX - self.head.len()));
        self.head.extend_from_slice(bytes);
        if !beyond.is_empty() {
            self.too_long = true;
            let last = &beyond[beyond.len().saturating_sub(ENDS_BYTES)..];
            self.tail.drain(..(self.tail.len() + last.len()).saturating_sub(ENDS_BYTES));
            self.tail.shrink_to(ENDS_BYTES);
            self.tail.extend_from_slice(last);
        }
    }

    fn clear(&mut self) {
        self.head.clear();
        self.head.shrink_to(BUFFER_BYTES_KEPT);
        self.tail.clear();
        self.too_long = false;
    }

    /// The id in a line that was too long, where the usual servers write it: first, or last of all.
    fn answers(&self) -> Option<RequestId> {
        let last = || number(self.end().strip_suffix('}')?.rsplit_once("\"id\":")?.1);
        first_id(&self.head).or_else(last)
    }

    /// Whether the end of a line that was too long says that the call failed. Within a text the quotes would be escaped.
    fn ends_in_error(&self) -> bool {
        self.end().contains("\"isError\":true")
    }

    /// The last bytes without white space.
    fn end(&self) -> String {
        let before = self.head.len().saturating_sub(ENDS_BYTES.saturating_sub(self.tail.len()));
        let end = [&self.head[before..], &self.tail].concat();
        String::from_utf8_lossy(&end).split_ascii_whitespace().collect()
    }
}

/// The id at the start of a message.
fn first_id(line: &[u8]) -> Option<RequestId> {
    let head = String::from_utf8_lossy(&line[..line.len().min(ENDS_BYTES)]);
    let compact: String = head.split_ascii_whitespace().collect();
    let rest = compact.strip_prefix('{')?;
    let rest = rest.strip_prefix("\"jsonrpc\":\"2.0\",").unwrap_or(rest).strip_prefix("\"id\":")?;
    number(rest.split_once([',', '}'])?.0)
}

fn number(text: &str) -> Option<RequestId> {
    text.trim_matches('"').parse().ok().map(RequestId::Number)
}

/// What travels with a call: whether it was written, and what comes back.
pub(super) struct Ticket {
    stamp: AtomicU8,
    arguments: Box<RawValue>,
    /// What the server gave us to send again with the call; `None` the first time.
    state: Option<Box<RawValue>>,
    reply: Mutex<Option<Reply>>,
    replied: Notify,
    /// Boxed, as a channel takes room for 32 of them from the start, and few calls tell any.
    progress: mpsc::Sender<Box<Progress>>,
}

/// What came back for a call, as text.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    /// A message that can be read.
    Read {
        /// The result, JSON text; `None` where there is none or `null`.
        result: Option<Box<str>>,
        /// The error, JSON text; `None` where there is none.
        error: Option<Box<str>>,
        /// What had to be changed so that it can be read.
        notes: Vec<String>,
        /// The rest of it was too long, and its end says that the call failed.
        failed: bool,
    },
    /// The server answered, but nobody can tell what; the text says why.
    Unreadable(&'static str),
}

/// How far a call has come.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stamp {
    Waiting,
    Sent,
    Withdrawn,
}

impl Ticket {
    /// A ticket for a call with these arguments, and where its progress arrives. `None` if the arguments are not the
    /// text of a JSON object.
    pub fn new(arguments: &str, state: Option<Box<RawValue>>) -> Option<(Arc<Self>, mpsc::Receiver<Box<Progress>>)> {
        // Line breaks stand only between tokens, never raw in a string; a message must be one line.
        let mut line = arguments.trim().to_owned();
        if line.contains(['\n', '\r']) {
            line = line.replace(['\n', '\r'], " ");
        }
        let arguments = RawValue::from_string(line).ok().filter(|raw| raw.get().starts_with('{'))?;
        let (progress, received) = mpsc::channel(PROGRESS_MAX);
        let stamp = AtomicU8::new(Stamp::Waiting as u8);
        Some((
            Arc::new(Ticket { stamp, arguments, state, reply: Mutex::default(), replied: Notify::new(), progress }),
            received,
        ))
    }

    /// Takes what came back; `None` when nothing did.
    pub fn take_reply(&self) -> Option<Reply> {
        self.reply.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until something comes back, also after the call was cancelled.
    pub async fn replied(&self) {
        self.replied.notified().await;
    }

    fn put_reply(&self, reply: Reply) {
        *self.reply.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
        self.replied.notify_one();
    }

    /// Makes sure that the call is never written. False if it already was, or is being written.
    pub fn withdraw(&self) -> bool {
        self.stamp(Stamp::Withdrawn) || self.stamp.load(Ordering::SeqCst) == Stamp::Withdrawn as u8
    }

    fn stamp(&self, stamp: Stamp) -> bool {
        let waiting = Stamp::Waiting as u8;
        self.stamp.compare_exchange(waiting, stamp as u8, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// The requests that wait for an answer.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<HashMap<RequestId, Question>>>);

struct Question {
    kind: Kind,
    token: Option<ProgressToken>,
    ticket: Option<Arc<Ticket>>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// rmcp wants its own type as result: it opens the session with it.
    Typed,
    /// The result is handed on as it is.
    Raw,
    /// A probe that nobody waits for any more.
    LateProbe,
    /// A call that rmcp has forgotten, as it was cancelled. Some servers answer all the same.
    Cancelled,
}

impl Asked {
    fn insert(&self, id: RequestId, question: Question) {
        self.lock().insert(id, question);
    }

    /// Takes out the request that an answer with this id belongs to.
    fn take(&self, id: &Value) -> Option<(RequestId, Question)> {
        self.lock().remove_entry(&written(id)?)
    }

    /// Whether something with this id was asked, and not answered yet.
    fn holds(&self, id: &Value) -> bool {
        written(id).is_some_and(|id| self.lock().contains_key(&id))
    }

    /// Whether it is a call that has this id.
    fn is_call(&self, id: &Value) -> bool {
        written(id).is_some_and(|id| self.lock().get(&id).is_some_and(|question| question.ticket.is_some()))
    }

    fn with(&self, id: &RequestId, change: impl FnOnce(&mut Question)) {
        if let Some(question) = self.lock().get_mut(id) {
            change(question);
        }
    }

    /// What answers a call is still taken in; what answers anything else is not.
    fn cancel(&self, id: &RequestId) {
        let mut asked = self.lock();
        match asked.get_mut(id) {
            Some(question) if question.ticket.is_some() => question.kind = Kind::Cancelled,
            _ => drop(asked.remove(id)),
        }
    }

    fn progress(&self, token: &ProgressToken, progress: Progress) {
        let asked = self.lock();
        let ticket =
            asked.values().find(|question| question.token.as_ref() == Some(token)).and_then(|q| q.ticket.as_ref());
        if let Some(ticket) = ticket {
            let _full = ticket.progress.try_send(Box::new(progress));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id of a request as an answer gives it back. Some servers return a number as text.
fn written(id: &Value) -> Option<RequestId> {
    match id {
        Value::Number(number) => number.as_i64().map(RequestId::Number),
        Value::String(text) => number(text),
        _ => None,
    }
}

/// The line of a message, and the ticket if it is a call. What it asks is noted.
fn encode(message: &ClientJsonRpcMessage, asked: &Asked) -> io::Result<(Vec<u8>, Option<Arc<Ticket>>)> {
    let mut ticket = None;
    let mut line = match message {
        JsonRpcMessage::Request(request) => {
            let kind = match &request.request {
                ClientRequest::CallToolRequest(_) | ClientRequest::ListToolsRequest(_) => Kind::Raw,
                _ if request.id == PROBE => Kind::Raw,
                _ => Kind::Typed,
            };
            if let ClientRequest::CallToolRequest(call) = &request.request {
                ticket = call.extensions.get::<Arc<Ticket>>().cloned();
            }
            let meta = request.request.get_meta();
            let question = Question { kind, token: meta.get_progress_token(), ticket: ticket.clone() };
            asked.insert(request.id.clone(), question);
            match (&request.request, &ticket) {
                (ClientRequest::CallToolRequest(call), Some(ticket)) => {
                    json::to_vec(&ExactCall::new(&request.id, &call.params.name, ticket, meta))?
                }
                _ => json::to_vec(message)?,
            }
        }
        JsonRpcMessage::Notification(notification) => {
            if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                && let Some(id) = &cancelled.params.request_id
            {
                asked.cancel(id);
            }
            json::to_vec(message)?
        }
        _ => json::to_vec(message)?,
    };
    line.push(b'\n');
    Ok((line, ticket))
}

/// A `tools/call` request with its arguments exactly as the model wrote them: parsed and written again, numbers beyond
/// 64 bits would change.
#[derive(Serialize)]
struct ExactCall<'a> {
    jsonrpc: &'static str,
    id: &'a RequestId,
    method: &'static str,
    params: ExactParams<'a>,
}

#[derive(Serialize)]
struct ExactParams<'a> {
    name: &'a str,
    arguments: &'a RawValue,
    #[serde(rename = "requestState", skip_serializing_if = "Option::is_none")]
    state: Option<&'a RawValue>,
    #[serde(rename = "_meta")]
    meta: &'a RequestMetaObject,
}

impl<'a> ExactCall<'a> {
    fn new(id: &'a RequestId, name: &'a str, ticket: &'a Ticket, meta: &'a RequestMetaObject) -> Self {
        let (arguments, state) = (&*ticket.arguments, ticket.state.as_deref());
        ExactCall { jsonrpc: "2.0", id, method: "tools/call", params: ExactParams { name, arguments, state, meta } }
    }
}

/// The outline of a message; its parts are looked at as the outline demands.
struct Outline<'a> {
    id: Value,
    method: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    /// `None` also where it is `null`.
    error: Option<&'a RawValue>,
}

impl<'a> Outline<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let members: Members<'_> = serde_json::from_slice(message).ok()?;
        let id = members.get("id").and_then(|id| serde_json::from_str(id.get()).ok()).unwrap_or_default();
        let error = members.get("error").filter(|error| error.get() != "null");
        Some(Outline { id, method: members.get("method"), result: members.get("result"), error })
    }
}

/// The message in a line; `None` for what is skipped. What answers a call is put on its ticket as text.
fn decode(line: &Line, asked: &Asked, late_probe: &AtomicBool) -> Option<ServerJsonRpcMessage> {
    // A byte order mark before the first message, as some Windows tools write it.
    let bytes = line.head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line.head).trim_ascii();
    if !bytes.starts_with(b"{") {
        return None;
    }
    if !line.too_long
        && let Some(outline) = Outline::read(bytes)
    {
        return answer(bytes, &outline, Vec::new(), line, asked, late_probe);
    }
    let id = || line.answers().or_else(|| first_id(bytes));
    let Some(salvaged) = salvage(bytes, line.too_long) else { return unreadable(asked, id()?, NO_JSON) };
    let mut outline = Outline::read(salvaged.text.as_bytes())?;
    if line.too_long {
        if outline.method.is_some() {
            return None;
        }
        if let Some(id) = line.answers().filter(|_| !asked.holds(&outline.id)) {
            outline.id = id.into_json_value();
        }
        if outline.result.is_none() && outline.error.is_none() || !asked.is_call(&outline.id) {
            return unreadable(asked, id()?, TOO_LONG);
        }
    }
    let mut notes: Vec<String> = salvaged.notes.iter().map(|note| note.as_str().to_owned()).collect();
    if line.too_long {
        notes.push(CUT.to_owned());
    }
    answer(salvaged.text.as_bytes(), &outline, notes, line, asked, late_probe)
}

/// What a message with this outline is to rmcp.
fn answer(
    message: &[u8],
    outline: &Outline<'_>,
    mut notes: Vec<String>,
    line: &Line,
    asked: &Asked,
    late_probe: &AtomicBool,
) -> Option<ServerJsonRpcMessage> {
    if outline.method.is_some() {
        let message = serde_json::from_slice::<ServerJsonRpcMessage>(message).ok();
        if let Some(JsonRpcMessage::Notification(notification)) = &message
            && let ServerNotification::ProgressNotification(progress) = &notification.notification
        {
            let params = progress.params.clone();
            let told = Progress { done: params.progress, total: params.total, message: params.message };
            asked.progress(&params.progress_token, told);
        }
        return message;
    }
    let (id, question) = asked.take(&outline.id)?;
    if let Kind::LateProbe = question.kind {
        late_probe.fetch_or(outline.error.is_none(), Ordering::SeqCst);
        return None;
    }
    if let Some(ticket) = question.ticket {
        let (mut result, mut error) = (outline.result.map(strict), outline.error.map(strict));
        for part in [&mut result, &mut error].into_iter().flatten() {
            notes.append(&mut part.1);
        }
        notes.dedup();
        let failed = line.too_long && line.ends_in_error();
        let (result, error) = (result.map(|(text, _)| text), error.map(|(text, _)| text));
        ticket.put_reply(Reply::Read { result, error, notes, failed });
        // rmcp only needs to know that the answer is there.
        let waits = !matches!(question.kind, Kind::Cancelled);
        return waits
            .then_some(JsonRpcMessage::response(ServerResult::CustomResult(CustomResult::new(Value::Null)), id));
    }
    if let Some(error) = outline.error {
        let error = value(error).unwrap_or_else(|| Value::from(error.get()));
        return Some(JsonRpcMessage::error(error_data(error), Some(id)));
    }
    let result = outline.result.map_or("null", RawValue::get);
    let typed = matches!(question.kind, Kind::Typed).then(|| serde_json::from_str(result).ok()).flatten();
    let raw = || Some(ServerResult::CustomResult(CustomResult::new(outline.result.map_or(Some(Value::Null), value)?)));
    // Without either, it is nested too deeply.
    let message = typed.or_else(raw).map(|result| JsonRpcMessage::response(result, id.clone()));
    message.or_else(|| Some(answered_unreadably(id, NO_JSON)))
}

/// Why an answer cannot be read.
const NO_JSON: &str = "its answer is no JSON that can be read";
const TOO_LONG: &str = "its result is longer than 16 MiB";

/// What is said of a result of which only the start was kept.
const CUT: &str = "it was longer than 16 MiB; the rest is cut off";

/// The text without halves of surrogate pairs, which a raw value may hold; and a note if there were any.
fn strict(raw: &RawValue) -> (Box<str>, Vec<String>) {
    let text = raw.get();
    let suspicious = text.contains("\\ud") || text.contains("\\uD");
    match suspicious.then(|| salvage(text.as_bytes(), false)).flatten() {
        Some(salvaged) if !salvaged.notes.is_empty() => {
            (salvaged.text.into(), salvaged.notes.iter().map(|note| note.as_str().to_owned()).collect())
        }
        _ => (text.into(), Vec::new()),
    }
}

/// The value of a JSON text, also where strings hold halves of surrogate pairs. `None` where it nests too deeply.
fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).or_else(|_| serde_json::from_str(&strict(raw).0)).ok()
}

/// The error that takes the place of an answer that cannot be read, if it is one to something that was asked.
fn unreadable(asked: &Asked, id: RequestId, why: &'static str) -> Option<ServerJsonRpcMessage> {
    let (id, question) = asked.take(&id.into_json_value())?;
    if let Some(ticket) = question.ticket {
        ticket.put_reply(Reply::Unreadable(why));
    }
    (!matches!(question.kind, Kind::Cancelled | Kind::LateProbe)).then(|| answered_unreadably(id, why))
}

fn answered_unreadably(id: RequestId, why: &str) -> ServerJsonRpcMessage {
    let error = ErrorData::new(ErrorCode::INTERNAL_ERROR, format!("the server answered, but {why}"), None);
    JsonRpcMessage::error(error, Some(id))
}

/// An error as far as it keeps to the form; what does not is shown as it is.
fn error_data(error: Value) -> ErrorData {
    let code = error["code"].as_i64().and_then(|code| i32::try_from(code).ok());
    match (code, error["message"].as_str()) {
        (Some(code), Some(message)) => ErrorData::new(
            ErrorCode(code),
            message.to_owned(),
            error.get("data").cloned().filter(|data| !data.is_null()),
        ),
        _ => ErrorData::new(ErrorCode::INTERNAL_ERROR, error.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of about 17 MiB, pushed as a pipe brings it.
    fn long(before: &str, after: &str) -> Line {
        let mut line = Line::default();
        let text = format!("{before}{}{after}", "x".repeat(17 << 20));
        text.as_bytes().chunks(8 * 1024).for_each(|chunk| line.push(chunk));
        line
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_still_says_what_it_answers() {
        let last = long(r#"{"result":{"text":""#, r#""},"jsonrpc":"2.0","id":7}"#);
        assert!(last.too_long && last.head.len() == LINE_BYTES_MAX && last.tail.len() <= ENDS_BYTES);
        assert_eq!(last.answers(), Some(RequestId::Number(7)));
        assert_eq!(long(r#"{"jsonrpc": "2.0", "id": 8, "result": ""#, r#""}"#).answers(), Some(RequestId::Number(8)));
        assert_eq!(long(r#"{"result":{"text":""#, r#"","id":7}}"#).answers(), None, "an id within the result");
        let mut line = long("", "");
        line.clear();
        line.push(b"{}");
        assert_eq!((&*line.head, line.too_long), (&b"{}"[..], false));
    }

    #[test]
    fn only_the_id_of_the_message_itself_is_found() {
        for (line, id) in [
            (r#"{"jsonrpc":"2.0","id":3,"result":"#, Some(3)),
            (r#"{ "id" : "4" , "jsonrpc""#, Some(4)),
            (r#"{"result":{"id":5}"#, None),
            (r#"{"id":null}"#, None),
            ("", None),
        ] {
            assert_eq!(first_id(line.as_bytes()), id.map(RequestId::Number), "{line}");
        }
    }

    #[test]
    fn a_ticket_is_either_sent_or_withdrawn() {
        let (ticket, _progress) = Ticket::new("{}", None).unwrap();
        assert!(ticket.stamp(Stamp::Sent));
        assert!(!ticket.withdraw());
        let (ticket, _progress) = Ticket::new(" {\"a\":\n1} ", None).unwrap();
        assert_eq!(ticket.arguments.get(), "{\"a\": 1}");
        assert!(ticket.withdraw());
        assert!(ticket.withdraw(), "withdrawing twice is withdrawing");
        assert!(!ticket.stamp(Stamp::Sent));
        for no_object in ["", "[]", "{", "{} {}", "null"] {
            assert!(Ticket::new(no_object, None).is_none(), "{no_object}");
        }
    }

    #[test]
    fn answers_to_nothing_that_was_asked_are_skipped() {
        let asked = Asked::default();
        asked.insert(RequestId::Number(1), Question { kind: Kind::Raw, token: None, ticket: None });
        let read = |text: &str| {
            let mut line = Line::default();
            line.push(text.as_bytes());
            decode(&line, &asked, &AtomicBool::new(false)).map(|message| serde_json::to_value(message).unwrap())
        };
        assert_eq!(read(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#), None);
        assert_eq!(
            read(r#"{"id":1,"result":{"odd":[1.50]}}"#),
            Some(serde_json::json!({"jsonrpc": "2.0", "id": 1, "result": {"odd": [1.5]}}))
        );
        assert_eq!(read(r#"{"id":1,"result":{}}"#), None, "already answered");
    }
}
