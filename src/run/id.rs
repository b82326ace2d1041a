//! Names and times that the world hands to a run. Nothing here reads a clock or a source of randomness.

use std::{fmt, str::FromStr, time::Duration};

use uuid::Uuid;

/// Names a run. Version 7, so that ids sort by time of start; a child's id is a hash of parent and call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The 16 bytes that stores use as key.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        RunId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Ok(RunId(Uuid::try_parse(text)?))
    }
}

/// A moment: milliseconds since 1970-01-01T00:00Z, as the clock of the node that journaled it said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// The time that has passed since `earlier`; zero when the clock went backwards.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This moment and `duration` more.
    pub fn after(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// An amount of money: billionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NanoDollars(pub u64);

impl fmt::Display for NanoDollars {
    /// `$0.0123`: dollars to four places, rounded half up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths_of_mill = self.0.saturating_add(50_000) / 100_000;
        write!(f, "${}.{:04}", tenths_of_mill / 10_000, tenths_of_mill % 10_000)
    }
}
