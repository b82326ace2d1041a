//! Which target is asked first, and which after it: pure, from what is known at a moment.
//!
//! What cannot serve the request is left out; what is ejected or has no room for it, cannot take its pictures, sounds or
//! documents where another one can, failed a moment ago or is clearly worse at tool calls moves behind the rest, in that
//! order; the policy orders the rest. Always true:
//! - The same knowledge gives the same order.
//! - When none that could serve is left, they are still tried, the one that comes back first in front.

use std::{fmt, time::Duration};

use super::{
    memory::{NO_TOOL, Standing},
    rate::{Size, Spent},
};
use crate::{
    chat::{Hold, MediaKind, Request, Senses, ToolDef},
    provider::{Patience, Rates},
    run::{NanoDollars, Time},
};

/// How the targets of a route are ordered, once those that cannot serve are left out and the sick ones moved back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// As written.
    #[default]
    Order,
    /// The cheapest first, a lost cache counted; unknown prices last.
    Price,
    /// The quickest to answer first, by the measured median; those not measured for hours in front, so that they are.
    Latency,
    /// The most tokens a second first, by what was measured; unmeasured ones in front.
    Throughput,
    /// The cheapest per accepted tool call first: price, a lost cache counted, over the measured share of right calls.
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
    /// Whether its targets are to hold models to the schemas of tools, where they can; a request that wishes more has it.
    pub hold: Hold,
    /// How long an attempt may take, in place of the providers' own timeouts.
    pub timeouts: Patience,
}

/// What the router is to know of the conversation that a request belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conversation<'a> {
    /// Who answered last, and when.
    pub answered: Option<(&'a str, Time)>,
    /// Tokens that its answer says are in its cache, read from there or written to it.
    pub cached: u64,
    /// The same in all requests of one run; draws the target of a weighted route.
    pub draw: u64,
    /// Tokens of the request, estimated; 0 for no estimate.
    pub tokens: u64,
    /// Whose run it is, for the budgets of agents; empty for nobody's.
    pub agent: &'a str,
    /// Who answered last made no valid call, though asked again: all others are asked before it.
    pub elsewhere: bool,
}

impl<'a> Conversation<'a> {
    /// Who may hold its prompt in a cache.
    pub fn holder(&self, now: Time) -> Option<&'a str> {
        self.answered.filter(|(_, at)| now.since(*at) < STICKY).map(|(endpoint, _)| endpoint)
    }

    /// How large the request is to an endpoint.
    pub fn size(&self, endpoint: &str, now: Time) -> Size {
        let cached = if self.holder(now) == Some(endpoint) { self.cached } else { 0 };
        Size { all: self.tokens, fresh: self.tokens.saturating_sub(cached) }
    }
}

impl Route {
    /// These models, `provider/model`, in this order and with the same weight.
    pub fn over<M: Into<String>>(models: impl IntoIterator<Item = M>) -> Self {
        let targets = models.into_iter().map(|model| Target { model: model.into(), weight: 1 }).collect();
        Route { targets, ..Route::default() }
    }
}

/// What a request asks of whoever answers it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need<'a> {
    /// Where it belongs.
    pub conversation: Conversation<'a>,
    /// Whether tools are on offer.
    pub tools: bool,
    /// Which they are, as far as that is known.
    pub offered: &'a [ToolDef],
    /// The media that it holds.
    pub media: Media,
}

impl<'a> Need<'a> {
    /// What this request asks for.
    pub fn of(request: &'a Request, conversation: Conversation<'a>) -> Self {
        let kinds = request.media();
        let has = |kind| kinds.contains(&kind);
        let (image, audio) = (has(MediaKind::Image), has(MediaKind::Audio));
        let media = Media { image, audio, document: has(MediaKind::Document) };
        Need { conversation, tools: !request.tools.is_empty(), offered: &request.tools, media }
    }
}

/// The media of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Media {
    /// Whether there are pictures.
    pub image: bool,
    /// Whether there are sounds.
    pub audio: bool,
    /// Whether there are documents.
    pub document: bool,
}

impl Media {
    /// How many kinds of them a model with these senses is known not to take.
    fn beyond(self, senses: Senses) -> usize {
        let kinds =
            [(self.image, MediaKind::Image), (self.audio, MediaKind::Audio), (self.document, MediaKind::Document)];
        kinds.into_iter().filter(|(is_there, kind)| *is_there && senses.lacks(*kind)).count()
    }
}

/// What is known of a target.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// `provider/model`.
    pub endpoint: &'a str,
    /// See [`Target::weight`].
    pub weight: u32,
    /// Whether its provider can be used: it has its key and whatever else it needs.
    pub ready: bool,
    /// Tokens that the model can read; `None` when nobody said.
    pub window: Option<u64>,
    /// Whether it can call tools; `None` when nobody said.
    pub tools: Option<bool>,
    /// What it takes beside text.
    pub senses: Senses,
    /// What tokens cost in a request of this length; `None` when unknown.
    pub price: Option<Rates>,
    /// What was seen of it.
    pub standing: &'a Standing,
    /// Until when there is no room for the request in what may be asked of it; `None` when there is.
    pub spent: Option<Spent>,
}

/// Why a target stands where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// In its place by the policy.
    Taken,
    /// In front, because it answered this run before.
    Sticky,
    /// In its place by the policy: asking elsewhere was taken to cost so much more, as it holds a part of the prompt.
    Holds(NanoDollars),
    /// Behind the healthy ones: it failed a moment ago.
    Shaky,
    /// Behind the healthy ones: its tool calls are clearly worse than the best one's.
    Worse,
    /// Behind those that take more of the media in the request: it is told of them in words.
    Blind,
    /// Behind all others until then: it failed repeatedly, or asked for a pause.
    Ejected(Time),
    /// Behind all others until then: what may be asked of it in a minute is used up.
    Spent(Spent),
    /// The conversation is longer than its window by our estimate, but no other target is left, and its server may count
    /// otherwise.
    Overfull,
    /// Not asked at all.
    LeftOut(Unfit),
}

/// Why a target cannot serve a request, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its provider cannot be used: a key is missing, for example.
    NotReady,
    /// Tools are on offer, and it cannot call any.
    NoTools,
    /// The conversation is longer than its window.
    TooLong,
    /// It costs more than the route allows.
    TooDear,
    /// The route has a ceiling, and nobody knows what it costs.
    PriceUnknown,
    /// The rest of a budget does not pay for it.
    NoMoney,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::NotReady => "its provider is not ready; see: agentd models",
            Unfit::NoTools => "it cannot call tools",
            Unfit::TooLong => "the conversation is longer than it can read",
            Unfit::TooDear => "it costs more than the route allows",
            Unfit::PriceUnknown => "its price is unknown, and the route has a ceiling",
            Unfit::NoMoney => "the rest of a budget does not pay for it",
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
            Verdict::Blind => "moved back: another one takes more of the pictures, sounds or documents in the request",
            Verdict::Ejected(_) => "last: it failed repeatedly or asked for a pause, which is not over",
            Verdict::Spent(spent) => return write!(f, "last: {spent}"),
            Verdict::Holds(lost) => {
                return write!(
                    f,
                    "in its place by the policy, which counts the {lost} that its cache saves against the others"
                );
            }
            Verdict::Overfull => {
                "asked all the same: the conversation is longer than it can read by our estimate, but there is no other"
            }
            Verdict::LeftOut(why) => return write!(f, "left out: {why}"),
        })
    }
}

/// A failure makes an endpoint shaky for this long (OpenRouter's outage window, openrouter.ai/docs, 2026-11).
const SHAKY_MS: u64 = 30_000;

/// How long an endpoint is taken to hold the prompt of a run in its cache: what the vendors name as the least (Anthropic,
/// docs.anthropic.com, prompt caching, 2026-11: five minutes; OpenAI: five to ten).
const STICKY: Duration = Duration::from_secs(300);

/// Tool calls before their quality says anything.
const SAMPLES_MIN: f64 = 20.0;

/// What is expected of an endpoint whose calls are not known yet: enough that a bad one is left although no other was
/// ever asked, and that the others then show whether they are any better.
const EXPECTED: f64 = 0.9;

/// By how much a share of right calls must be smaller to matter. What is rarely wrong is asked again once in a while,
/// which costs less than an endpoint that is dearer or slower by much.
const WORSE_BY: f64 = 0.05;

/// The order in which targets are asked, those left out at the end: indexes into `known`, each with its verdict.
pub fn rank(
    known: &[Known<'_>],
    policy: Policy,
    price_max: Option<u64>,
    need: &Need<'_>,
    now: Time,
) -> Vec<(usize, Verdict)> {
    let holder = need.conversation.holder(now);
    // Who orders by price weighs what the cache is worth; the others stay where it may be.
    let weighed = matches!(policy, Policy::Price | Policy::Quality);
    let lost = known.iter().find(|it| holder == Some(it.endpoint)).map_or(0.0, |it| lost(it, need));
    let fit = known.iter().filter(|it| unfit(it, price_max, need).is_none());
    let fewest = fit.clone().map(|it| need.media.beyond(it.senses)).min().unwrap_or(0);
    let best = fit.map(|it| quality(it, need).map_or(EXPECTED, |share| share.right)).fold(0.0, f64::max);
    let verdict = |it: &Known<'_>| {
        if let Some(why) = unfit(it, price_max, need) {
            return Verdict::LeftOut(why);
        }
        let standing = it.standing;
        let ejected = standing.ejected_until.filter(|until| *until > now);
        let spent = it.spent.filter(|spent| spent.until > ejected.unwrap_or(now));
        let failed = standing.failed_at.is_some_and(|at| (now.since(at).as_millis() as u64) < SHAKY_MS && at <= now);
        match (spent, ejected) {
            (Some(spent), _) => Verdict::Spent(spent),
            (None, Some(until)) => Verdict::Ejected(until),
            _ if need.media.beyond(it.senses) > fewest => Verdict::Blind,
            _ if failed && standing.failures > 0 => Verdict::Shaky,
            _ if quality(it, need).is_some_and(|share| share.is_below(best)) => Verdict::Worse,
            _ if holder != Some(it.endpoint) => Verdict::Taken,
            _ if !weighed => Verdict::Sticky,
            _ if lost > 0.0 => Verdict::Holds(NanoDollars(lost as u64)),
            _ => Verdict::Taken,
        }
    };
    let mut ranked: Vec<(usize, Verdict)> = known.iter().map(verdict).enumerate().collect();
    if ranked.iter().all(|(_, verdict)| matches!(verdict, Verdict::LeftOut(_))) {
        let too_long = ranked.iter_mut().filter(|(_, verdict)| *verdict == Verdict::LeftOut(Unfit::TooLong));
        too_long.for_each(|(_, verdict)| *verdict = Verdict::Overfull);
    }
    let drawn = draw(known, need.conversation.draw);
    let place = |at: usize, verdict: &Verdict| {
        let group = match verdict {
            Verdict::Sticky => 0,
            Verdict::Taken | Verdict::Holds(_) => 1,
            Verdict::Worse => 2,
            Verdict::Shaky => 3,
            Verdict::Blind => 4,
            Verdict::Ejected(_) | Verdict::Spent(_) => 5,
            Verdict::Overfull | Verdict::LeftOut(_) => 6,
        };
        let holds = |it: &Known<'_>| holder == Some(it.endpoint);
        let key = match (verdict, known.get(at)) {
            (Verdict::Ejected(until) | Verdict::Spent(Spent { until, .. }), _) => until.0 as f64,
            // The longest window first.
            (Verdict::Overfull, Some(it)) => -it.window.map_or(0.0, |window| window as f64),
            (_, Some(it)) => {
                let price = price(it, need) + if holds(it) { 0.0 } else { lost };
                match policy {
                    Policy::Order => 0.0,
                    Policy::Price => price,
                    Policy::Latency => it.standing.latency.percentile(0.5, now).map_or(0.0, |p50| p50.as_secs_f64()),
                    Policy::Throughput => it.standing.tokens_per_second.map_or(f64::NEG_INFINITY, |rate| -rate),
                    Policy::Quality => price / quality(it, need).map_or(1.0, |share| share.right.max(0.01)),
                    Policy::Weighted => f64::from(u8::from(drawn != Some(at))),
                }
            }
            (_, None) => 0.0,
        };
        // Of equals the one that may hold the prompt, then as written.
        (group, key, !known.get(at).is_some_and(holds), at)
    };
    ranked.sort_by(|(a, a_verdict), (b, b_verdict)| {
        let (a, b) = (place(*a, a_verdict), place(*b, b_verdict));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)).then(a.3.cmp(&b.3))
    });
    ranked
}

/// Why a target cannot serve a request; `None` when it can, as far as is known.
fn unfit(it: &Known<'_>, price_max: Option<u64>, need: &Need<'_>) -> Option<Unfit> {
    if !it.ready {
        return Some(Unfit::NotReady);
    }
    if it.tools == Some(false) && need.tools {
        return Some(Unfit::NoTools);
    }
    if it.window.is_some_and(|window| window < need.conversation.tokens) {
        return Some(Unfit::TooLong);
    }
    match (price_max, it.price) {
        (Some(most), Some(rates)) if rates.input.0 > most => Some(Unfit::TooDear),
        (Some(_), None) => Some(Unfit::PriceUnknown),
        _ => None,
    }
}

/// What a request costs, in billionths of a dollar, as far as can be told before; infinite when the price is unknown. Only
/// good for comparing: without an estimate of its tokens it is that of one token.
fn price(it: &Known<'_>, need: &Need<'_>) -> f64 {
    let tokens = need.conversation.tokens.max(need.conversation.cached).max(1) as f64;
    // An agent reads about ten tokens for each that it writes.
    let a_million = |rates: Rates| rates.input.0 as f64 + rates.output.0 as f64 / 10.0;
    it.price.map_or(f64::INFINITY, |rates| a_million(rates) * tokens / 1e6)
}

/// What the part of the request costs more elsewhere that this target has in its cache, in billionths of a dollar.
fn lost(it: &Known<'_>, need: &Need<'_>) -> f64 {
    let Some(Rates { input, cached: Some(cached), .. }) = it.price else { return 0.0 };
    input.0.saturating_sub(cached.0) as f64 * need.conversation.cached as f64 / 1e6
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

/// How many tool calls were right.
#[derive(Clone, Copy)]
struct Share {
    /// 1 for all.
    right: f64,
    /// Of so many.
    of: f64,
}

impl Share {
    /// Whether it lies below the best by more than matters and two standard deviations of its own.
    fn is_below(self, best: f64) -> bool {
        let deviation = (self.right * (1.0 - self.right) / self.of).sqrt();
        self.right + 2.0 * deviation < best - WORSE_BY
    }
}

/// How many calls of the tools on offer were right, where enough were seen, or else of all tools; `None` when too few of
/// either were. Calls that name no tool count against each in proportion.
fn quality(it: &Known<'_>, need: &Need<'_>) -> Option<Share> {
    let tools = &it.standing.tools;
    let add = |sum: (f64, f64), counts: &(f64, f64)| (sum.0 + counts.0, sum.1 + counts.1);
    let share = |(right, wrong): (f64, f64)| Share { right: right / (right + wrong), of: right + wrong };
    let all = share(tools.values().fold((0.0, 0.0), add));
    if all.of < SAMPLES_MIN {
        return None;
    }
    let offered = need.offered.iter().filter_map(|tool| tools.get(tool.name.as_str()));
    let offered = share(offered.fold((0.0, 0.0), add));
    let nameless = tools.get(NO_TOOL).map_or(0.0, |(_, wrong)| wrong / all.of);
    Some(if offered.of < SAMPLES_MIN { all } else { Share { right: offered.right * (1.0 - nameless), ..offered } })
}
