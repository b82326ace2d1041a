//! The one HTTP client of all dialects: sends a request to one server and reads its answer as it comes.
//!
//! What differs between dialects stands behind [`Format`]: where the request goes, what it says, how the answer reads.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use reqwest::{Url, header::CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    BoxFuture, Class, Delta, Dialect, Failure, ForceForm, Means, Patience, Provider, Quirks, Served, Strict, Timeouts,
    dialect::{Format, Target},
    estimate,
    failure::failure,
    http::{self, Phase},
    schema, served,
};
use crate::chat::{Answer, AnswerPart, Choice, Finish, Hold, Request, UNREAD_CALL};

/// One server that speaks a known dialect. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Client {
    name: String,
    base: Url,
    format: &'static dyn Format,
    quirks: Quirks,
    /// The same, if it turns out to be llama.cpp's server.
    llama_cpp: Quirks,
    kind: Arc<AtomicU8>,
    strict: Strict,
    key: Option<SecretString>,
    http: reqwest::Client,
    timeouts: Timeouts,
}

/// Which server a client speaks to, by its own account: not asked yet, llama.cpp's (its list of models says so, whatever
/// name the settings have for it), or another.
const UNKNOWN: u8 = 0;
const LLAMA_CPP: u8 = 1;
const OTHER: u8 = 2;

/// How long a server on this machine may take to tell its models: it has them at hand.
const LOADED_MAX: Duration = Duration::from_millis(1500);

/// Most tokens to answer with at servers that have no limit of their own, where nobody said how many: more than any call or
/// answer in earnest, and an end to a small model that repeats itself.
const OUTPUT_TOKENS: u32 = 16_384;

impl Client {
    /// Begins a client for the server at `base_url`, such as `https://api.openai.com/v1` or `http://127.0.0.1:8000/v1`;
    /// the path of the dialect is added unless it is there. A query (`?api-version=…`) is kept.
    pub fn builder(dialect: Dialect, base_url: impl Into<String>) -> Builder {
        Builder {
            dialect,
            base_url: base_url.into(),
            name: None,
            key: None,
            quirks: Quirks::default(),
            strict: None,
            timeouts: Timeouts::default(),
            http: None,
        }
    }

    async fn answer(
        &self,
        model: &str,
        request: &Request,
        timeouts: Timeouts,
        seen: &mut (dyn FnMut(Delta<'_>) + Send),
    ) -> Result<Answer, Failure> {
        let target = self.target(model, request);
        let request = &*self.chosen(request, target);
        let body = self
            .format
            .body(request, target)
            .map_err(|error| failure(Class::CallerFault, &format!("the request cannot be written as JSON: {error}")))?;
        let headers = self.format.headers(self.key.as_ref(), target).map_err(|error| {
            failure(Class::Credential, &format!("the key holds characters that cannot be sent: {error}"))
        })?;
        let post = self.http.post(self.format.url(&self.base, model)).headers(headers);
        let mut incoming = http::send(post.header(CONTENT_TYPE, "application/json").body(body), timeouts).await?;
        if let Some(limits) = incoming.limits() {
            seen(Delta::Limits(limits));
        }
        let mut reading = self.format.reading();
        // Bytes of thinking, which is written and paid for as text is, and kept nowhere else while it comes.
        let mut thought = 0;
        let seen = &mut |delta: Delta<'_>| {
            if let Delta::Reasoning(text) = delta {
                thought += text.len() as u64;
            }
            seen(delta);
        };
        let read = async {
            while !reading.is_ended() {
                let phase = match (reading.is_finished(), reading.has_begun()) {
                    (true, _) => Phase::Tail,
                    (false, true) => Phase::Next,
                    (false, false) => Phase::FirstToken,
                };
                match incoming.chunk(phase).await {
                    Ok(Some(bytes)) => {
                        if reading.push(&bytes, seen)? {
                            incoming.is_alive();
                        }
                    }
                    Ok(None) => break,
                    // Only what is dispensable is missing.
                    Err(_) if reading.is_finished() => break,
                    Err(failure) => return Err(failure),
                }
            }
            reading.end(target, seen)
        }
        .await;
        match read {
            Ok(answer) => {
                let status = incoming.status();
                incoming.linger().await;
                let suspected = target.quirks.cuts_prompts;
                match suspected.then(|| estimate::cut_short(request, answer.usage)).flatten() {
                    Some(failure) => {
                        let failure = Failure { status: Some(status), ..failure }.told(answer.usage);
                        Err(failure.discarding(&answer.text()))
                    }
                    None => Ok(self.unfilled(answer, request, target)),
                }
            }
            Err(failure) => {
                let status = failure.status.or(Some(incoming.status()));
                // An answer that came whole and counts for nothing has been taken out of the reading.
                let text = if failure.discarded.is_empty() { reading.text() } else { failure.discarded.clone() };
                let written = estimate::text_tokens(&text) + thought / estimate::TOKEN_BYTES;
                let failure = Failure { status, ..failure }.cut_at(reading.usage(), written);
                Err(if failure.unread { failure } else { failure.discarding(&text) })
            }
        }
    }
}

impl Client {
    /// Asks the server which models it serves.
    ///
    /// # Errors
    /// When it cannot be reached, refuses, or answers with something else.
    pub async fn served(&self) -> Result<Vec<Served>, Failure> {
        let target = Target { issuer: &self.name, model: "", quirks: &self.quirks, strict: false };
        let headers = self.format.headers(self.key.as_ref(), target).map_err(|error| {
            failure(Class::Credential, &format!("the key holds characters that cannot be sent: {error}"))
        })?;
        let asked = served::ask(self.http.get(self.format.models(&self.base)).headers(headers), self.timeouts).await;
        let served = asked.map_err(|failure| self.discreet(failure))?;
        let is_llama_cpp = served.iter().any(|it| it.owner.as_deref() == Some("llamacpp"));
        self.kind.store(if is_llama_cpp { LLAMA_CPP } else { OTHER }, Ordering::Relaxed);
        Ok(served)
    }

    fn quirks(&self) -> &Quirks {
        match self.kind.load(Ordering::Relaxed) {
            LLAMA_CPP => &self.llama_cpp,
            _ => &self.quirks,
        }
    }

    /// Asks a llama.cpp server whether the chat template of its model shows the tools of a request to the model; `None` when the
    /// server does not say.
    pub async fn shows_tools(&self) -> Option<bool> {
        let mut url = self.base.clone();
        url.set_path("/props");
        url.set_query(None);
        served::shows_tools(self.http.get(url), self.timeouts).await
    }

    fn target<'a>(&'a self, model: &'a str, request: &Request) -> Target<'a> {
        let strict = match self.strict {
            Strict::Always => true,
            Strict::Asked => request.hold != Hold::No,
            Strict::Never => false,
        };
        Target { issuer: &self.name, model, quirks: self.quirks(), strict }
    }

    /// The request as it is written: where the tool that was to be forced is held to, and that is what is wished, nothing is
    /// forced; and a server without a limit on answers gets one.
    fn chosen<'a>(&self, request: &'a Request, target: Target<'_>) -> Cow<'a, Request> {
        let held = request.hold == Hold::RatherThanForce && self.format.means(request, target).strict;
        let endless = target.quirks.endless && request.output_tokens_max.is_none();
        if !held && !endless {
            return Cow::Borrowed(request);
        }
        Cow::Owned(Request {
            choice: if held { Choice::Auto } else { request.choice.clone() },
            output_tokens_max: if endless { Some(OUTPUT_TOKENS) } else { request.output_tokens_max },
            ..request.clone()
        })
    }

    /// The answer without the nulls that only stand there because strict schemas want every property.
    fn unfilled(&self, mut answer: Answer, request: &Request, target: Target<'_>) -> Answer {
        let Some(form) = self.format.filled().filter(|_| target.strict) else { return answer };
        let unfilled = |text: &str, schema: &Value| schema::strict(schema, form).and(schema::unfilled(text, schema));
        for part in &mut answer.parts {
            match part {
                // What its issuer has signed stays as it is.
                AnswerPart::Call(call) if call.complete && call.opaque.is_none() => {
                    let tool = request.tools.iter().find(|tool| tool.name.as_str() == call.name);
                    if let Some(text) = tool.and_then(|tool| unfilled(&call.arguments, &tool.input_schema)) {
                        call.arguments = text.into();
                    }
                }
                AnswerPart::Text(text) => {
                    let output = request.output.as_ref().filter(|_| request.tools.is_empty());
                    if let Some(shorter) = output.and_then(|output| unfilled(text, &output.schema)) {
                        *text = shorter.into();
                    }
                }
                AnswerPart::Call(_) | AnswerPart::Reasoning(_) | AnswerPart::Opaque(_) => {}
            }
        }
        answer
    }

    /// The failure without our key.
    fn discreet(&self, failure: Failure) -> Failure {
        match &self.key {
            Some(key) => failure.without(key.expose_secret()),
            None => failure,
        }
    }
}

/// The answer that a server reported as an error because it could not read a call in it: what the model wrote, as text.
///
/// # Errors
/// Every other failure, as it was.
fn as_written(mut failure: Failure) -> Result<Answer, Failure> {
    if !failure.unread {
        return Err(failure);
    }
    let text = std::mem::take(&mut failure.discarded);
    let usage = failure.used.filter(|used| !used.estimated).map(|used| used.tokens);
    // Words where a call was forced are no broken call.
    let is_call = !failure.message.contains("did not call a tool");
    let finish = if is_call { Finish::Other(UNREAD_CALL.to_owned()) } else { Finish::Stop };
    Ok(Answer { parts: vec![AnswerPart::Text(text.into())], finish, usage, model: None, id: None })
}

impl fmt::Debug for Client {
    /// Without the key and without the query of the URL, where some put a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client { name, base, timeouts, .. } = self;
        let host = format_args!("{}{}", base.authority(), base.path());
        f.debug_struct("Client")
            .field("name", name)
            .field("base", &host)
            .field("timeouts", timeouts)
            .finish_non_exhaustive()
    }
}

impl Provider for Client {
    fn ask<'a>(
        &'a self,
        model: &'a str,
        request: &'a Request,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        self.ask_within(model, request, Patience::default(), seen)
    }

    fn ask_within<'a>(
        &'a self,
        model: &'a str,
        request: &'a Request,
        patience: Patience,
        seen: &'a mut (dyn FnMut(Delta<'_>) + Send),
    ) -> BoxFuture<'a, Result<Answer, Failure>> {
        Box::pin(async move {
            let answer = self.answer(model, request, patience.over(self.timeouts), seen).await;
            answer.or_else(as_written).map_err(|failure| self.discreet(failure))
        })
    }

    fn means(&self, model: &str, request: &Request) -> Means {
        let target = self.target(model, request);
        let Means { strict, forced } = self.format.means(request, target);
        // Where both could be, the wish says which.
        Means { strict, forced: forced && !(strict && request.hold == Hold::RatherThanForce) }
    }

    fn loaded(&self) -> Option<BoxFuture<'_, Result<Vec<Served>, Failure>>> {
        let asked = async {
            let served = tokio::time::timeout(LOADED_MAX, self.served()).await;
            // Who does not tell is not asked again before every request.
            let _ = self.kind.compare_exchange(UNKNOWN, OTHER, Ordering::Relaxed, Ordering::Relaxed);
            served.unwrap_or_else(|_| Err(failure(Class::Transient, "the server did not tell its models in time")))
        };
        is_local(&self.base).then(|| Box::pin(asked) as BoxFuture<'_, _>)
    }

    fn is_unknown(&self) -> bool {
        is_local(&self.base) && self.kind.load(Ordering::Relaxed) == UNKNOWN
    }
}

/// The settings of a [`Client`].
pub struct Builder {
    dialect: Dialect,
    base_url: String,
    name: Option<String>,
    key: Option<SecretString>,
    quirks: Quirks,
    strict: Option<Strict>,
    timeouts: Timeouts,
    http: Option<reqwest::Client>,
}

impl Builder {
    /// The provider's name, under which its opaque parts are tagged. Default: the host of the base URL.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The key, sent in the header that the dialect has for it. Default: none, as local servers want it.
    pub fn key(mut self, key: SecretString) -> Self {
        self.key = Some(key);
        self
    }

    /// In what this server differs from its dialect. Default: [`Quirks::default`].
    pub fn quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }

    /// When models are to be held to the schemas of tools and answers by the server, where they can be without losing any
    /// of their meaning: OpenAI's `strict`, which vLLM and others take too, Anthropic's, Gemini's validated calls. Servers
    /// that do not know the wish may refuse it; the arguments are checked here in any case. Default: when a request wishes
    /// it, if the server is known to be able to ([`Quirks::strict`]), else never.
    pub fn strict(mut self, strict: Strict) -> Self {
        self.strict = Some(strict);
        self
    }

    /// How long requests may take. Default: [`Timeouts::default`].
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// A ready HTTP client, to share connections, a proxy or certificates. It must not follow redirects, and its own
    /// connect timeout holds. Default: one of our own, which for addresses on this machine uses no proxy.
    pub fn http(mut self, http: reqwest::Client) -> Self {
        self.http = Some(http);
        self
    }

    /// Builds the client. Connects to nothing.
    ///
    /// # Errors
    /// When the URL or the key cannot be used, or the system's certificates cannot be loaded.
    pub fn build(self) -> Result<Client, Error> {
        let bad_url = |reason: String| Error::Url {
            // The text of a URL with a password is not for messages.
            url: if self.base_url.contains('@') { "(hidden)".to_owned() } else { self.base_url.clone() },
            reason,
        };
        let url = Url::parse(&self.base_url).map_err(|error| bad_url(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad_url("a key belongs into `key`, not into the URL".to_owned()));
        }
        let (true, Some(host)) = (matches!(url.scheme(), "http" | "https"), url.host_str().map(str::to_owned)) else {
            return Err(bad_url("it must begin with http:// or https:// and name a host".to_owned()));
        };
        let format = self.dialect.format();
        let target = Target { issuer: &host, model: "", quirks: &self.quirks, strict: false };
        format.headers(self.key.as_ref(), target).map_err(|_| Error::Key)?;
        let http = match self.http {
            Some(http) => http,
            None => {
                http::client(self.timeouts.connect, url.scheme() == "http" && is_local(&url)).map_err(Error::Http)?
            }
        };
        Ok(Client {
            name: self.name.unwrap_or_else(|| host.clone()),
            base: url,
            format,
            quirks: self.quirks,
            llama_cpp: Quirks {
                force: match self.quirks.force {
                    ForceForm::Named => ForceForm::Required,
                    force => force,
                },
                endless: true,
                ..self.quirks
            },
            kind: Arc::default(),
            strict: self.strict.unwrap_or(self.quirks.strictness()),
            key: self.key,
            http,
            timeouts: self.timeouts,
        })
    }
}

fn is_local(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The base URL is none.
    #[error("base URL {url:?}: {reason}")]
    Url {
        /// The URL, unless it holds a password.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key holds characters that no HTTP header takes, a line end for example.
    #[error("the key holds characters that cannot be sent")]
    Key,
    /// The HTTP client cannot be built, for lack of certificates for example.
    #[error("no HTTP client")]
    Http(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::chat::ToolDef;

    /// What is told of a request is what its body says.
    #[test]
    fn a_wish_to_hold_a_model_to_its_tools_takes_the_place_of_forcing_one() {
        let closed = json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]});
        let free = json!({"type": "object", "properties": {"any": {"type": "object"}}});
        let request = |schema: &Value, hold| Request {
            tools: Arc::new([ToolDef::new("put", "", schema.clone())]),
            choice: Choice::Tool("put".into()),
            hold,
            ..Request::default()
        };
        let (held, forced) = (Means { strict: true, forced: false }, Means { strict: false, forced: true });
        for (dialect, model) in [
            (Dialect::OpenAiChat, "gpt-5"),
            (Dialect::OpenAiResponses, "gpt-5"),
            (Dialect::AnthropicMessages, "claude-sonnet-4-5"),
            (Dialect::Gemini, "gemini-3-pro-preview"),
        ] {
            let means = |strict, schema: &Value, hold| {
                let client = Client::builder(dialect, "http://127.0.0.1:1").strict(strict).build().unwrap();
                let request = request(schema, hold);
                let target = client.target(model, &request);
                let chosen = client.chosen(&request, target);
                let body = client.format.body(&chosen, target).unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let is_forced = body.get("tool_choice").is_some_and(|choice| *choice != "auto")
                    || body["toolConfig"]["functionCallingConfig"]["mode"] == "ANY";
                let means = client.means(model, &request);
                assert_eq!(means.forced, is_forced, "{} {body}", dialect.as_str());
                means
            };
            assert_eq!(means(Strict::Asked, &closed, Hold::RatherThanForce), held, "{}", dialect.as_str());
            assert_eq!(means(Strict::Asked, &closed, Hold::No), forced, "{}", dialect.as_str());
            assert_eq!(means(Strict::Never, &closed, Hold::RatherThanForce), forced, "{}", dialect.as_str());
            let both = Means { strict: true, forced: true };
            assert_eq!(means(Strict::Always, &closed, Hold::No), both, "{}", dialect.as_str());
            // What cannot be held to is forced. Gemini holds to what it knows of any schema.
            let expected = if dialect == Dialect::Gemini { held } else { forced };
            assert_eq!(means(Strict::Asked, &free, Hold::RatherThanForce), expected, "{}", dialect.as_str());
        }
        let known = Client::builder(Dialect::OpenAiChat, "http://127.0.0.1:1");
        let known = known.quirks(Quirks { strict: true, ..Quirks::NONE }).build().unwrap();
        assert_eq!(known.means("m", &request(&closed, Hold::RatherThanForce)), held);
    }
}
