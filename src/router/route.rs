//! Which target is asked first, and which after it: pure, from what is known at a moment.
//!
//! What cannot serve the request is left out; what is ejected, failed a moment ago or is clearly worse at tool calls moves
//! behind the rest, in that order; the policy orders the rest. Always true:
//! - The same knowledge gives the same order.
//! - When all that could serve are ejected, they are still tried, the one that comes back first in front.

use std::{fmt, time::Duration};

use super::memory::Standing;
use crate::{
    chat::{Message, Part, Request},
    run::{NanoDollars, Time},
};

/// How the targets of a route are ordered, once those that cannot serve are left out and the sick ones moved back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// As written.
    #[default]
    Order,
    /// The cheapest first; unknown prices last.
    Price,
    /// The quickest to answer first, by what was measured; unmeasured ones in front, so that they get measured.
    Latency,
    /// The most tokens a second first, by what was measured; unmeasured ones in front.
    Throughput,
    /// The cheapest per accepted tool call first: price over the measured share of requests whose calls were right.
    Quality,
    /// Each run keeps to one target, drawn by weight from its id; the others as written, should it fail.
    Weighted,
}

impl Policy {
    /// All, by the names they have in settings.
    pub const ALL: [(&'static str, Policy); 6] = [
        ("order", Policy::Order),
        ("price", Policy::Price),
        ("latency", Policy::Latency),
        ("throughput", Policy::Throughput),
        ("quality", Policy::Quality),
        ("weighted", Policy::Weighted),
    ];
}

/// A model at a provider, as a route names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `provider/model`.
    pub model: String,
    /// Its share under [`Policy::Weighted`], against the others' weights; 1 unless said otherwise.
    pub weight: u32,
}

/// A choice of targets under one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// At least one.
    pub targets: Vec<Target>,
    /// How they are ordered.
    pub policy: Policy,
    /// What a million tokens read may cost at most; a target with a higher or an unknown price is left out. `None`: any.
    pub price_max: Option<NanoDollars>,
}

/// What the router is to know of the conversation that a request belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conversation<'a> {
    /// Who answered last, and when.
    pub answered: Option<(&'a str, Time)>,
    /// The same in all requests of one run; draws the target of a weighted route.
    pub draw: u64,
    /// Tokens of the request, estimated; 0 for no estimate.
    pub tokens: u64,
}

/// What a request asks of whoever answers it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need<'a> {
    /// Where it belongs.
    pub conversation: Conversation<'a>,
    /// Whether tools are on offer.
    pub tools: bool,
    /// Whether it holds pictures.
    pub images: bool,
}

impl<'a> Need<'a> {
    /// What this request asks for.
    pub fn of(request: &Request, conversation: Conversation<'a>) -> Self {
        let images = request.messages.iter().any(|message| has_image(message));
        Need { conversation, tools: !request.tools.is_empty(), images }
    }
}

fn has_image(message: &Message) -> bool {
    match message {
        Message::User(parts) | Message::Assistant(parts) => parts.iter().any(|part| matches!(part, Part::Image(_))),
        Message::Tool(result) => result.content.iter().any(|part| matches!(part, Part::Image(_))),
    }
}

/// What is known of a target.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// `provider/model`.
    pub endpoint: &'a str,
    /// See [`Target::weight`].
    pub weight: u32,
    /// Tokens that the model can read; `None` when nobody said.
    pub window: Option<u64>,
    /// Whether it can call tools; `None` when nobody said.
    pub tools: Option<bool>,
    /// Whether it can see pictures; `None` when nobody said.
    pub images: Option<bool>,
    /// Price of a million tokens read and a million written, in billionths of a dollar; `None` when unknown.
    pub price: Option<(u64, u64)>,
    /// What was seen of it.
    pub standing: &'a Standing,
}

/// Why a target stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// In its place by the policy.
    Taken,
    /// In front, because it answered this run before.
    Sticky,
    /// Behind the healthy ones: it failed a moment ago.
    Shaky,
    /// Behind the healthy ones: its tool calls are clearly worse than the best one's.
    Worse,
    /// Behind all others until then: it failed repeatedly, or asked for a pause.
    Ejected(Time),
    /// Not asked at all.
    LeftOut(Unfit),
}

/// Why a target cannot serve a request, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Tools are on offer, and it cannot call any.
    NoTools,
    /// There are pictures, and it cannot see.
    NoImages,
    /// The conversation is longer than its window.
    TooLong,
    /// It costs more than the route allows.
    TooDear,
    /// The route has a ceiling, and nobody knows what it costs.
    PriceUnknown,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::NoTools => "it cannot call tools",
            Unfit::NoImages => "it cannot see pictures",
            Unfit::TooLong => "the conversation is longer than it can read",
            Unfit::TooDear => "it costs more than the route allows",
            Unfit::PriceUnknown => "its price is unknown, and the route has a ceiling",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Taken => "in its place by the policy",
            Verdict::Sticky => "in front: it answered this run before and may hold its prompt in a cache",
            Verdict::Shaky => "moved back: it failed a moment ago",
            Verdict::Worse => "moved back: its tool calls are clearly worse than the best one's",
            Verdict::Ejected(_) => "last: it failed repeatedly or asked for a pause, which is not over",
            Verdict::LeftOut(why) => return write!(f, "left out: {why}"),
        })
    }
}

/// A failure makes an endpoint shaky for this long (OpenRouter's outage window, openrouter.ai/docs, 2026-11).
const SHAKY_MS: u64 = 30_000;

/// How long an endpoint is taken to hold the prompt of a run in its cache: what the vendors name as the least (Anthropic,
/// docs.anthropic.com, prompt caching, 2026-11: five minutes; OpenAI: five to ten).
const STICKY: Duration = Duration::from_secs(300);

/// Requests with tool calls before their quality says anything.
const SAMPLES_MIN: f64 = 20.0;

/// The order in which targets are asked, those left out at the end: indexes into `known`, each with its verdict.
pub fn rank(
    known: &[Known<'_>],
    policy: Policy,
    price_max: Option<u64>,
    need: &Need<'_>,
    now: Time,
) -> Vec<(usize, Verdict)> {
    let sticky = need.conversation.answered.filter(|(_, at)| now.since(*at) < STICKY).map(|(endpoint, _)| endpoint);
    let best = known.iter().filter_map(|it| quality(it.standing)).fold(0.0, f64::max);
    let verdict = |it: &Known<'_>| {
        if let Some(why) = unfit(it, price_max, need) {
            return Verdict::LeftOut(why);
        }
        let standing = it.standing;
        match standing.ejected_until {
            Some(until) if until > now => return Verdict::Ejected(until),
            _ => {}
        }
        let failed = standing.failed_at.is_some_and(|at| (now.since(at).as_millis() as u64) < SHAKY_MS && at <= now);
        if failed && standing.failures > 0 {
            Verdict::Shaky
        } else if is_worse(standing, best) {
            Verdict::Worse
        } else if sticky == Some(it.endpoint) {
            Verdict::Sticky
        } else {
            Verdict::Taken
        }
    };
    let mut ranked: Vec<(usize, Verdict)> = known.iter().map(verdict).enumerate().collect();
    let drawn = draw(known, need.conversation.draw);
    ranked.sort_by(|(a, a_verdict), (b, b_verdict)| {
        let place = |at: usize, verdict: &Verdict| -> (u8, f64, usize) {
            let group = match verdict {
                Verdict::Sticky => 0,
                Verdict::Taken => 1,
                Verdict::Worse => 2,
                Verdict::Shaky => 3,
                Verdict::Ejected(_) => 4,
                Verdict::LeftOut(_) => 5,
            };
            let key = match (verdict, known.get(at)) {
                (Verdict::Ejected(until), _) => until.0 as f64,
                (_, Some(it)) => key(policy, it, drawn == Some(at)),
                (_, None) => 0.0,
            };
            (group, key, at)
        };
        let (a, b) = (place(*a, a_verdict), place(*b, b_verdict));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
    });
    ranked
}

/// Why a target cannot serve a request; `None` when it can, as far as is known.
fn unfit(it: &Known<'_>, price_max: Option<u64>, need: &Need<'_>) -> Option<Unfit> {
    if it.tools == Some(false) && need.tools {
        return Some(Unfit::NoTools);
    }
    if it.images == Some(false) && need.images {
        return Some(Unfit::NoImages);
    }
    if it.window.is_some_and(|window| window < need.conversation.tokens) {
        return Some(Unfit::TooLong);
    }
    match (price_max, it.price) {
        (Some(most), Some((input, _))) if input > most => Some(Unfit::TooDear),
        (Some(_), None) => Some(Unfit::PriceUnknown),
        _ => None,
    }
}

/// What a policy orders by, the smallest first.
fn key(policy: Policy, it: &Known<'_>, drawn: bool) -> f64 {
    // An agent reads about ten tokens for each that it writes.
    let price = it.price.map_or(f64::INFINITY, |(input, output)| input as f64 + output as f64 / 10.0);
    match policy {
        Policy::Order => 0.0,
        Policy::Price => price,
        Policy::Latency => it.standing.latency_ms.unwrap_or(0.0),
        Policy::Throughput => it.standing.tokens_per_second.map_or(f64::NEG_INFINITY, |rate| -rate),
        Policy::Quality => price / quality(it.standing).unwrap_or(1.0).max(0.01),
        Policy::Weighted => f64::from(u8::from(!drawn)),
    }
}

/// The target that a run is given by weight.
fn draw(known: &[Known<'_>], draw: u64) -> Option<usize> {
    let total: u64 = known.iter().map(|it| u64::from(it.weight)).sum();
    let mut left = draw.checked_rem(total)?;
    known.iter().position(|it| match left.checked_sub(u64::from(it.weight)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

/// Share of requests whose tool calls were all right; `None` when too few were seen.
fn quality(standing: &Standing) -> Option<f64> {
    let all = standing.good + standing.bad;
    (all >= SAMPLES_MIN).then(|| standing.good / all)
}

/// Whether the share of right calls lies below the best by more than two standard deviations of its own.
fn is_worse(standing: &Standing, best: f64) -> bool {
    quality(standing).is_some_and(|share| {
        let deviation = (share * (1.0 - share) / (standing.good + standing.bad)).sqrt();
        share + 2.0 * deviation < best - 0.01
    })
}
