//! Opens the session with a server, in the protocol era that it speaks, and remembers which that was.
//!
//! Up to 2025-11-25 a session opens with `initialize`; from 2026-07-28 on there is none, and `server/discover` tells what a
//! server can do. Which one a server speaks shows only by asking: a probe is sent first, and its answer decides.
//! Servers of the old era answer it with an error, or not at all, or they end; rmcp's own probing (`Auto`) waits
//! 10 seconds for the silent and gives up on those that end. Always true:
//! - A server that answers with an error of the new era, or with versions, is not taken for one of the old era: it is
//!   opened in a version that it names, or not at all (specification 2026-07-28, "Versioning and Compatibility").
//! - A silent server costs a few seconds, and only once: then it gets `initialize`, and if it was only slow to start and
//!   speaks the new era alone, its late answer shows that.
//! - What is remembered is a hint. A session that does not open so is opened the other way.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt,
    model::{
        ClientCapabilities, ClientConfig, ClientJsonRpcMessage, ClientRequest, DiscoverRequest, DiscoverRequestParams,
        ElicitRequestParams, ElicitResult, ErrorCode, ErrorData, Implementation, JsonRpcMessage, ProtocolVersion,
        RequestMetaObject, ServerResult,
    },
    service::{ClientInitializeError, NotificationContext, RequestContext, RoleClient, RunningService},
    transport::Transport,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::wire::{PROBE, Wire};

/// How a server opens a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Era {
    /// With `initialize`, up to 2025-11-25.
    Initialize,
    /// With `server/discover`, from 2026-07-28.
    Discover,
}

/// How to find out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Ask, and then as the server answers.
    Probe(Duration),
    /// Do not ask.
    Straight(Era),
}

/// A session that is open.
pub(super) type Service = RunningService<RoleClient, Listener>;

/// Why no session opened.
pub(super) struct Refused {
    /// What to try with a fresh process, if anything.
    pub next: Option<Plan>,
    pub error: String,
}

/// Opens the session.
pub(super) async fn open(mut wire: Wire, listener: Listener, plan: Plan) -> Result<(Service, Era), Refused> {
    let late = wire.late_probe();
    // What the server said to the probe; `None` if it has not said anything yet.
    let answered = match plan {
        Plan::Straight(era) => Some(era),
        Plan::Probe(patience) => match probe(&mut wire, patience).await {
            Answer::Era(era) => Some(era),
            Answer::Silence => None,
            Answer::Refusal(error) => return Err(Refused { next: None, error }),
            Answer::End => {
                return Err(Refused { next: Some(Plan::Straight(Era::Initialize)), error: ENDED.to_owned() });
            }
        },
    };
    let era = answered.unwrap_or(Era::Initialize);
    let mode = match era {
        Era::Initialize => ClientLifecycleMode::Initialize,
        Era::Discover => ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] },
    };
    match listener.serve_with_lifecycle(wire, mode).await {
        Ok(service) => Ok((service, era)),
        Err(error) => {
            let ended = matches!(
                error,
                ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. }
            );
            let next = match (plan, answered) {
                // It was only slow.
                _ if late.load(Ordering::SeqCst) => Some(Plan::Straight(Era::Discover)),
                // The probe, which it read late, may have been too much for it.
                (Plan::Probe(_), None) if ended => Some(Plan::Straight(Era::Initialize)),
                _ => None,
            };
            let error = if ended { ENDED.to_owned() } else { format!("it opens no session: {error}") };
            Err(Refused { next, error })
        }
    }
}

const ENDED: &str = "it ended before a session was open";

/// What a probe came to.
enum Answer {
    Era(Era),
    /// It speaks nothing that we speak; the text says what it names.
    Refusal(String),
    Silence,
    End,
}

async fn probe(wire: &mut Wire, patience: Duration) -> Answer {
    let config = config();
    let mut discover = DiscoverRequest::new(DiscoverRequestParams {});
    let version = ProtocolVersion::V_2026_07_28;
    discover.extensions.insert(RequestMetaObject::with_client_context(
        version,
        config.client_info,
        config.capabilities,
    ));
    let request = ClientJsonRpcMessage::request(ClientRequest::DiscoverRequest(discover), PROBE);
    if wire.send(request).await.is_err() {
        return Answer::End;
    }
    let answer = tokio::time::timeout(patience, async {
        loop {
            match wire.receive().await {
                None => return Answer::End,
                Some(JsonRpcMessage::Response(response)) if response.id == PROBE => {
                    return match &response.result {
                        ServerResult::CustomResult(result) => discovered(result.0.get("supportedVersions")),
                        _ => Answer::Era(Era::Initialize),
                    };
                }
                Some(JsonRpcMessage::Error(error)) if error.id == Some(PROBE) => {
                    return refused(&error.error);
                }
                // Logs and pings come before the session, too.
                Some(_) => {}
            }
        }
    });
    match answer.await {
        Ok(answer) => answer,
        Err(_) => {
            wire.give_up_probe();
            Answer::Silence
        }
    }
}

/// The era of a server that answered the probe with these versions; without any, it did not understand it.
fn discovered(versions: Option<&Value>) -> Answer {
    match versions {
        None => Answer::Era(Era::Initialize),
        Some(versions) => chosen(versions),
    }
}

/// What an error in answer to the probe says: some are only given by servers of the new era.
fn refused(error: &ErrorData) -> Answer {
    let data = error.data.as_ref().unwrap_or(&Value::Null);
    match error.code {
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION => chosen(&data["supported"]),
        ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY => {
            Answer::Refusal(format!("it wants what agentd cannot do: {} ({data})", error.message))
        }
        ErrorCode::HEADER_MISMATCH => Answer::Refusal(format!("it refuses to open a session: {}", error.message)),
        _ => Answer::Era(Era::Initialize),
    }
}

/// The era of the newest version that both sides speak.
fn chosen(versions: &Value) -> Answer {
    let names: Vec<&str> = versions.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let speaks = |version: &ProtocolVersion| names.contains(&version.as_str());
    if speaks(&ProtocolVersion::V_2026_07_28) {
        return Answer::Era(Era::Discover);
    }
    let old = [
        ProtocolVersion::V_2025_11_25,
        ProtocolVersion::V_2025_06_18,
        ProtocolVersion::V_2025_03_26,
        ProtocolVersion::V_2024_11_05,
    ];
    if old.iter().any(speaks) {
        return Answer::Era(Era::Initialize);
    }
    let named = if names.is_empty() { "it names none".to_owned() } else { format!("it speaks {}", names.join(", ")) };
    Answer::Refusal(format!("it speaks no version of MCP that agentd speaks (2024-11-05 to 2026-07-28); {named}"))
}

/// What we say about ourselves. Sampling, elicitation and roots are not declared: nothing serves them.
fn config() -> ClientConfig {
    ClientConfig::new(ClientCapabilities::default(), Implementation::new("agentd", env!("CARGO_PKG_VERSION")))
        // The default is a version that has no `initialize`.
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
}

/// Takes what a server sends without being asked.
pub(super) struct Listener {
    /// Set when the server says that its tools changed.
    pub changed: Arc<AtomicBool>,
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        config()
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changed.store(true, Ordering::SeqCst);
    }

    /// Not declared, so a server should not ask. Declining would say that a person did.
    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "elicitation/create", None))
    }
}

/// The eras of known servers: a small file each, named by a hash of command and arguments.
#[derive(Clone)]
pub(super) struct Eras {
    /// `None`: nothing is remembered.
    folder: Option<PathBuf>,
}

/// What is remembered of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub era: Era,
    /// The version that the server gave then. With another one it is asked again next time: it may have learnt the new era.
    pub version: Option<String>,
}

impl Eras {
    pub fn below(home: Option<&Path>) -> Self {
        Eras { folder: home.map(|home| home.join("eras")) }
    }

    /// What is remembered; `None` also when the file is damaged.
    pub fn get(&self, key: &str) -> Option<Known> {
        let text = fs::read(self.folder.as_ref()?.join(key)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Remembers, or forgets, what a server speaks. Failing only costs a probe next time.
    pub fn set(&self, key: &str, known: Option<&Known>) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(key);
        let done = match known {
            Some(known) => write(folder, &path, known),
            None => fs::remove_file(&path),
        };
        if let Err(error) = done {
            tracing::debug!(%error, ?path, "the server's protocol era is not remembered");
        }
    }
}

/// Writes in one step, so that nobody reads half of it.
fn write(folder: &Path, path: &Path, known: &Known) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{}", Uuid::now_v7().simple()));
    fs::write(&new, serde_json::to_vec(known)?)?;
    fs::rename(&new, path).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// The name under which a server is remembered.
pub(super) fn key(command: &str, args: &[String]) -> String {
    let mut hash = blake3::Hasher::new();
    for word in std::iter::once(command).chain(args.iter().map(String::as_str)) {
        hash.update(word.as_bytes()).update(b"\0");
    }
    hash.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back_and_damage_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let eras = Eras::below(Some(home.path()));
        let key = key("npx", &["-y".to_owned(), "server".to_owned()]);
        assert_eq!(eras.get(&key), None);
        let known = Known { era: Era::Discover, version: Some("1.2".to_owned()) };
        eras.set(&key, Some(&known));
        assert_eq!(eras.get(&key), Some(known));
        let folder = home.path().join("eras");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing half written is left");
        fs::write(folder.join(&key), b"{\"era\":\"disc").unwrap();
        assert_eq!(eras.get(&key), None);
        eras.set(&key, None);
        assert!(!folder.join(&key).exists());
    }

    #[test]
    fn a_version_that_a_server_names_decides_and_no_error_of_the_new_era_leads_back() {
        use serde_json::json;
        let said = |answer: Answer| match answer {
            Answer::Era(era) => format!("{era:?}"),
            Answer::Refusal(why) => why,
            Answer::Silence | Answer::End => panic!(),
        };
        let unsupported = |supported: Value| {
            let data = Some(json!({"supported": supported, "requested": "2026-07-28"}));
            said(refused(&ErrorData::new(ErrorCode::UNSUPPORTED_PROTOCOL_VERSION, "no", data)))
        };
        assert_eq!(said(discovered(Some(&json!(["2025-11-25", "2026-07-28"])))), "Discover");
        assert_eq!(said(discovered(None)), "Initialize");
        assert!(said(discovered(Some(&json!(["2027-01-01"])))).ends_with("it speaks 2027-01-01"));
        assert_eq!(unsupported(json!(["2026-07-28"])), "Discover");
        assert_eq!(unsupported(json!(["2099-01-01", "2025-06-18"])), "Initialize", "it says so itself");
        assert!(unsupported(json!(["2099-01-01"])).ends_with("it speaks 2099-01-01"));
        assert!(unsupported(Value::Null).ends_with("it names none"));
        let missing = ErrorData::new(ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling", None);
        assert!(said(refused(&missing)).contains("sampling"));
        let unknown = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "server/discover", None);
        assert_eq!(said(refused(&unknown)), "Initialize");
    }

    #[test]
    fn words_of_a_command_are_not_run_together() {
        assert_ne!(key("a", &["bc".to_owned()]), key("ab", &["c".to_owned()]));
    }
}
