//! How much may be asked in a minute: of a provider by the settings ([`Rate`]), of an endpoint by what came with its last
//! answer ([`Told`]).
//!
//! ```text
//! rank: is there room? if not, until when ─► reserve: counted before it is sent ─► settle: what it really took
//! ```
//! What the settings allow is a bucket that holds a minute's worth and drains all the time, as Anthropic counts
//! (docs.anthropic.com, rate limits, 2026-11). Always true:
//! - What is reserved counts at once, so that requests in flight never exceed a rate together.
//! - A request for more than a minute's worth goes when the bucket is empty; otherwise it would never go.
//! - What a provider told holds until the moment that it named, and no longer.
//!
//! The crate `governor` keeps such rates too, but it cannot be looked at without taking from it, takes no correction when
//! the real number is known, refuses for ever what is larger than its burst, and cannot be kept over a restart.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::memory::moment;
use crate::{provider::Limits, run::Time};

const MINUTE: Duration = Duration::from_secs(60);

/// What may be asked of a provider in a minute, of all its models together. `None`: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    /// Requests.
    pub requests: Option<u64>,
    /// Tokens read and written, cached ones included.
    pub tokens: Option<u64>,
}

/// Tokens of a request, estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// All of them.
    pub all: u64,
    /// Those that the endpoint does not hold in its cache. What is cached, most providers do not count, Anthropic among them;
    /// where one does, it refuses, and another is asked.
    pub fresh: u64,
}

/// Until when there is no room for a request, and who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// When there is.
    pub until: Time,
    /// Who says so.
    pub by: Teller,
}

/// Who says that a budget of requests or tokens is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// The settings, by our own count.
    Settings,
    /// The provider, with an earlier answer.
    Provider,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.by {
            Teller::Settings => "the requests or tokens a minute that the settings allow are used up",
            Teller::Provider => "it said that the requests or tokens it allows are used up",
        })
    }
}

/// What was asked of a provider and has not drained.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Level {
    requests: f64,
    tokens: f64,
    #[serde(with = "moment")]
    at: Option<Time>,
}

impl Level {
    /// How long until there is room for a request of so many tokens.
    pub(super) fn wait(mut self, rate: Rate, tokens: u64, now: Time) -> Duration {
        self.drain(rate, now);
        let wait = |level: f64, more: u64, most: Option<u64>| {
            let most = most? as f64;
            let over = level + (more as f64).min(most) - most;
            // Less than a thousandth is rounding.
            (over > 0.001).then(|| MINUTE.mul_f64(over / most))
        };
        wait(self.requests, 1, rate.requests).max(wait(self.tokens, tokens, rate.tokens)).unwrap_or_default()
    }

    /// Counts a request of so many tokens.
    pub(super) fn take(&mut self, rate: Rate, tokens: u64, now: Time) {
        self.drain(rate, now);
        self.requests += f64::from(u8::from(rate.requests.is_some()));
        self.tokens += if rate.tokens.is_some() { tokens as f64 } else { 0.0 };
    }

    /// Corrects what was counted for a request by what it really took.
    pub(super) fn settle(&mut self, rate: Rate, counted: u64, took: u64) {
        if rate.tokens.is_some() {
            self.tokens = (self.tokens - counted as f64 + took as f64).max(0.0);
        }
    }

    /// Takes back what was counted for a request that was not sent.
    pub(super) fn give_back(&mut self, rate: Rate, tokens: u64) {
        self.requests = (self.requests - f64::from(u8::from(rate.requests.is_some()))).max(0.0);
        self.settle(rate, tokens, 0);
    }

    /// Whether all of it has drained for certain.
    pub(super) fn is_old(&self, now: Time) -> bool {
        self.at.is_none_or(|at| now.since(at) > 10 * MINUTE)
    }

    fn drain(&mut self, rate: Rate, now: Time) {
        let minutes = self.at.map_or(0.0, |at| now.since(at).as_secs_f64() / MINUTE.as_secs_f64());
        let left = |level: f64, most: Option<u64>| (level - minutes * most.unwrap_or(0) as f64).max(0.0);
        (self.requests, self.tokens) = (left(self.requests, rate.requests), left(self.tokens, rate.tokens));
        self.at = Some(now);
    }
}

/// What a provider still allowed at an endpoint when it last answered, less what was sent since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    requests_left: Option<u64>,
    tokens_left: Option<u64>,
    /// When it is out of date.
    #[serde(with = "moment")]
    until: Option<Time>,
}

impl Told {
    pub(super) fn new(limits: Limits, now: Time) -> Self {
        let Limits { requests_left, tokens_left, reset } = limits;
        // Who names no moment counts by the minute, as nearly all do.
        Told { requests_left, tokens_left, until: Some(now.after(reset.unwrap_or(MINUTE))) }
    }

    /// How long until there is room for a request of this size.
    pub(super) fn wait(&self, size: Size, now: Time) -> Duration {
        let short = self.requests_left == Some(0) || self.tokens_left.is_some_and(|left| left < size.fresh.max(1));
        self.until.filter(|_| short).map_or(Duration::ZERO, |until| until.since(now))
    }

    /// Counts a request of this size.
    pub(super) fn take(&mut self, size: Size) {
        self.requests_left = self.requests_left.map(|left| left.saturating_sub(1));
        self.tokens_left = self.tokens_left.map(|left| left.saturating_sub(size.fresh));
    }

    /// Takes that back.
    pub(super) fn give_back(&mut self, size: Size) {
        self.requests_left = self.requests_left.map(|left| left.saturating_add(1));
        self.tokens_left = self.tokens_left.map(|left| left.saturating_add(size.fresh));
    }
}
