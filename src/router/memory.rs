//! What is remembered of each endpoint: health, speed, how often its tool calls were right, and what may still be asked.
//!
//! Pure: time comes in with each happening. It goes to disk and back as one JSON document ([`Memory::save`], [`Memory::load`]),
//! so that a restart does not stampede a dead provider. Always true:
//! - It is bounded: at most [`ENDPOINTS_MAX`] endpoints, each of the same size but for its tools, of which there are at most
//!   [`TOOLS_MAX`]; what was not used for longest goes first.
//! - Counts decay by half in [`HALF_LIFE`], so that an endpoint that got better is believed.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    latency::Latency,
    quarantine::Quarantine,
    rate::{Level, Rate, Size, Spent, Teller, Told},
};
use crate::{
    provider::{Class, Limits},
    run::Time,
};

/// Most endpoints remembered.
pub const ENDPOINTS_MAX: usize = 512;

/// Most tools remembered of an endpoint.
pub const TOOLS_MAX: usize = 128;

/// In which counts of tool calls lose half their weight.
pub const HALF_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// The tool under which calls are counted that name none that was on offer.
pub const NO_TOOL: &str = "";

/// How long a native tool call says that an endpoint delivers them: its server may be replaced by one that does not.
const NATIVE_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Most dialects of text remembered of an endpoint.
const DIALECTS_MAX: usize = 8;

/// Failures in a row that eject an endpoint.
const FAILURES_MAX: u32 = 3;

/// How long the first ejection lasts; each further one twice as long as the one before.
const EJECTION_MIN: Duration = Duration::from_secs(5);

/// The longest ejection.
const EJECTION_MAX: Duration = Duration::from_secs(300);

/// How long an endpoint is left alone when its key, its account or its model is the trouble: short, as a person may mend
/// it at any moment, and it is asked all the same when there is no other.
const BARRED: Duration = Duration::from_secs(60);

/// The longest ejection for a quota that comes back at a known moment: somebody may raise it before.
const QUOTA_MAX: Duration = Duration::from_secs(900);

/// Weight of the newest measurement in a moving average: the last ten or so count.
const NEWEST: f64 = 0.2;

/// What was seen of one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Failures in a row, the last one at `failed_at`.
    pub failures: u32,
    /// How often it was ejected without an answer of it since.
    pub ejections: u32,
    /// Until when it is left alone.
    #[serde(with = "moment")]
    pub ejected_until: Option<Time>,
    /// When it last failed.
    #[serde(with = "moment")]
    pub failed_at: Option<Time>,
    /// When it was last asked.
    #[serde(with = "moment")]
    pub used_at: Option<Time>,
    /// How long it took from a request to the whole answer.
    pub latency: Latency,
    /// Tokens written a second, a moving average; `None` before the first answer that told its tokens.
    pub tokens_per_second: Option<f64>,
    /// Requests whose tool calls were all right, decayed.
    pub good: f64,
    /// Requests with at least one tool call that was wrong, decayed.
    pub bad: f64,
    /// Right and wrong calls by tool, decayed; those that named none on offer under [`NO_TOOL`].
    pub tools: BTreeMap<String, (f64, f64)>,
    /// When the counts were last decayed.
    #[serde(with = "moment")]
    counted_at: Option<Time>,
    /// What its provider last said that it still allows; `None` when it said nothing.
    pub told: Option<Told>,
    /// Tokens that the model can read, by its server's own account; `None` when it said nothing.
    pub window: Option<u64>,
    /// When its server was last asked for that.
    #[serde(with = "moment")]
    pub window_at: Option<Time>,
    /// What is left out of requests to it, because it refuses that.
    #[serde(skip_serializing_if = "Quarantine::is_empty")]
    pub quarantine: Quarantine,
    /// When it last delivered a native tool call.
    #[serde(with = "moment")]
    pub native_at: Option<Time>,
    /// The dialects of text in which it made calls, oldest first.
    pub dialects: Vec<String>,
}

impl Standing {
    /// Whether it delivers native tool calls, as far as was seen.
    pub fn is_native(&self, now: Time) -> bool {
        self.native_at.is_some_and(|at| now.since(at) <= NATIVE_FOR)
    }
}

/// What is remembered of all endpoints, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    endpoints: BTreeMap<String, Standing>,
    /// What was asked of providers whose rate the settings bound.
    levels: BTreeMap<String, Level>,
}

impl Memory {
    /// Reads what [`save`](Memory::save) wrote; what cannot be read is an empty memory, since nothing of it is needed.
    pub fn load(text: &str) -> Memory {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The whole as JSON text.
    ///
    /// # Errors
    /// Never with what a memory can hold.
    pub fn save(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// What is known of an endpoint.
    pub fn of(&self, endpoint: &str) -> &Standing {
        static NOTHING: LazyLock<Standing> = LazyLock::new(Standing::default);
        self.endpoints.get(endpoint).unwrap_or(&NOTHING)
    }

    /// All endpoints of which something is known, by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Standing)> {
        self.endpoints.iter().map(|(name, standing)| (name.as_str(), standing))
    }

    /// Takes in that an endpoint answered.
    pub fn answered(&mut self, endpoint: &str, latency: Duration, written: Option<u64>, now: Time) {
        let standing = self.touch(endpoint, now);
        (standing.failures, standing.ejections, standing.ejected_until) = (0, 0, None);
        standing.latency.took(latency, now);
        let seconds = latency.as_secs_f64();
        if let Some(written) = written.filter(|_| seconds > 0.0) {
            average(&mut standing.tokens_per_second, written as f64 / seconds);
        }
    }

    /// Takes in that an endpoint failed, and how long it asks to be left alone.
    pub fn failed(&mut self, endpoint: &str, class: Class, retry_after: Option<Duration>, now: Time) {
        let standing = self.touch(endpoint, now);
        let pause = match class {
            // The request was at fault, not the endpoint.
            Class::ContextTooLong | Class::CallerFault | Class::ContentRefused | Class::Budget => return,
            Class::RateLimited => Some(retry_after.unwrap_or(EJECTION_MIN)),
            Class::Quota => Some(retry_after.unwrap_or(BARRED).clamp(BARRED, QUOTA_MAX)),
            Class::Credential | Class::ModelGone | Class::Region => Some(BARRED),
            Class::Transient | Class::MalformedAnswer => {
                let repeated = standing.failures + 1 >= FAILURES_MAX;
                retry_after.or_else(|| {
                    repeated.then(|| EJECTION_MAX.min(EJECTION_MIN.saturating_mul(1 << standing.ejections.min(10))))
                })
            }
        };
        standing.failures = standing.failures.saturating_add(1);
        standing.failed_at = Some(now);
        if let Some(pause) = pause {
            standing.ejected_until = Some(now.after(pause));
            standing.ejections = standing.ejections.saturating_add(1);
        }
    }

    /// Whether a request to this endpoint finds out if it is back: its ejection is over, and it has not answered since. One
    /// at a time does, so that a run is not kept waiting by what another one is about to learn: the next ones leave it alone
    /// until it has answered, or for as long as the shortest ejection.
    pub fn probes(&mut self, endpoint: &str, now: Time) -> bool {
        let Some(standing) = self.endpoints.get_mut(endpoint) else { return false };
        let over = standing.ejected_until.is_some_and(|until| until <= now);
        if over {
            standing.ejected_until = Some(now.after(EJECTION_MIN));
        }
        over
    }

    /// Takes in what became of the tool calls of one answer: each tool, and whether its call was right. Nothing is learnt
    /// from an answer without calls.
    pub fn judged<'a>(&mut self, endpoint: &str, calls: impl IntoIterator<Item = (&'a str, bool)>, now: Time) {
        let standing = self.touch(endpoint, now);
        let lost =
            standing.counted_at.map_or(1.0, |at| 0.5_f64.powf(now.since(at).as_secs_f64() / HALF_LIFE.as_secs_f64()));
        standing.counted_at = Some(now);
        (standing.good, standing.bad) = (standing.good * lost, standing.bad * lost);
        standing.tools.retain(|_, counts| {
            *counts = (counts.0 * lost, counts.1 * lost);
            counts.0 + counts.1 > 0.01
        });
        let (mut any, mut wrong) = (false, false);
        for (tool, right) in calls {
            (any, wrong) = (true, wrong || !right);
            if standing.tools.len() < TOOLS_MAX || standing.tools.contains_key(tool) {
                let counts = standing.tools.entry(tool.to_owned()).or_default();
                *(if right { &mut counts.0 } else { &mut counts.1 }) += 1.0;
            }
        }
        match (any, wrong) {
            (true, true) => standing.bad += 1.0,
            (true, false) => standing.good += 1.0,
            (false, _) => {}
        }
    }

    /// Records that an endpoint delivered a native tool call.
    pub fn called_natively(&mut self, endpoint: &str, now: Time) {
        self.entry(endpoint).native_at = Some(now);
    }

    /// Records that an endpoint made a valid call in its text, in this dialect.
    pub fn called_in_text(&mut self, endpoint: &str, dialect: &str) {
        let dialects = &mut self.entry(endpoint).dialects;
        dialects.retain(|known| known != dialect);
        dialects.push(dialect.to_owned());
        let surplus = dialects.len().saturating_sub(DIALECTS_MAX);
        dialects.drain(..surplus);
    }

    /// Takes in how many tokens a model can read, by its server's own account; `None` when that said nothing.
    pub fn serves(&mut self, endpoint: &str, window: Option<u64>, now: Time) {
        let standing = self.entry(endpoint);
        (standing.window, standing.window_at) = (window, Some(now));
    }

    /// What is left out of requests to an endpoint.
    pub(super) fn quarantine(&self, endpoint: &str, now: Time) -> Quarantine {
        let known = &self.of(endpoint).quarantine;
        if known.is_old(now) { Quarantine::default() } else { known.clone() }
    }

    /// Remembers what an endpoint refuses.
    pub(super) fn refuses(&mut self, endpoint: &str, quarantine: Quarantine) {
        self.entry(endpoint).quarantine = quarantine;
    }

    /// Takes in what a provider still allows at an endpoint.
    pub fn told(&mut self, endpoint: &str, limits: Limits, now: Time) {
        self.touch(endpoint, now).told = Some(Told::new(limits, now));
    }

    /// Until when an endpoint has no room for a request of this size, of which its provider may be asked at this rate;
    /// `None` when it has room.
    pub fn spent(&self, endpoint: &str, rate: Rate, size: Size, now: Time) -> Option<Spent> {
        let told = self.of(endpoint).told.map_or(Duration::ZERO, |told| told.wait(size, now));
        let counted = self.level(endpoint).wait(rate, size.all, now);
        let (wait, by) = if told > counted { (told, Teller::Provider) } else { (counted, Teller::Settings) };
        (!wait.is_zero()).then(|| Spent { until: now.after(wait), by })
    }

    /// Counts a request that is to be sent, and tells how long that has to wait. What a provider told is not waited for
    /// beyond `patience`, as it may have been misread.
    ///
    /// # Errors
    /// When the settings would have it wait longer than `patience`: how long. Nothing is counted then.
    pub fn reserve(
        &mut self,
        endpoint: &str,
        rate: Rate,
        size: Size,
        patience: Duration,
        now: Time,
    ) -> Result<Duration, Duration> {
        let wait = self.level(endpoint).wait(rate, size.all, now);
        if wait > patience {
            return Err(wait);
        }
        if rate != Rate::default() {
            let provider = provider(endpoint);
            if !self.levels.contains_key(provider) {
                // No more than the providers of these settings, and whatever was asked some minutes ago.
                self.levels.retain(|_, level| !level.is_old(now));
            }
            self.levels.entry(provider.to_owned()).or_default().take(rate, size.all, now);
        }
        let told = self.endpoints.get_mut(endpoint).and_then(|standing| standing.told.as_mut()).map(|told| {
            let wait = told.wait(size, now);
            told.take(size);
            wait
        });
        Ok(wait.max(told.filter(|told| *told <= patience).unwrap_or_default()))
    }

    /// Corrects what was counted for a request by what it really took.
    pub fn settle(&mut self, endpoint: &str, rate: Rate, counted: u64, took: u64) {
        if let Some(level) = self.levels.get_mut(provider(endpoint)) {
            level.settle(rate, counted, took);
        }
    }

    /// Takes back what was counted for a request that was not sent after all.
    pub fn give_back(&mut self, endpoint: &str, rate: Rate, size: Size) {
        if let Some(level) = self.levels.get_mut(provider(endpoint)) {
            level.give_back(rate, size.all);
        }
        if let Some(told) = self.endpoints.get_mut(endpoint).and_then(|standing| standing.told.as_mut()) {
            told.give_back(size);
        }
    }

    fn level(&self, endpoint: &str) -> Level {
        self.levels.get(provider(endpoint)).copied().unwrap_or_default()
    }

    fn touch(&mut self, endpoint: &str, now: Time) -> &mut Standing {
        let standing = self.entry(endpoint);
        standing.used_at = Some(now);
        standing
    }

    fn entry(&mut self, endpoint: &str) -> &mut Standing {
        if self.endpoints.len() >= ENDPOINTS_MAX && !self.endpoints.contains_key(endpoint) {
            let oldest = self.endpoints.iter().min_by_key(|(_, it)| it.used_at.map_or(i64::MIN, |at| at.0));
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.endpoints.remove(&oldest);
            }
        }
        self.endpoints.entry(endpoint.to_owned()).or_default()
    }
}

/// The provider of an endpoint.
fn provider(endpoint: &str) -> &str {
    endpoint.split_once('/').map_or(endpoint, |(provider, _)| provider)
}

fn average(so_far: &mut Option<f64>, newest: f64) {
    *so_far = Some(so_far.map_or(newest, |so_far| so_far + NEWEST * (newest - so_far)));
}

/// A time as milliseconds since 1970.
pub(super) mod moment {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::run::Time;

    #[expect(clippy::ref_option, reason = "serde wants it so")]
    pub fn serialize<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
        time.map(|time| time.0).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
        Ok(Option::<i64>::deserialize(deserializer)?.map(Time))
    }
}
