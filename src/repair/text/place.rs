//! Where in a text something stands, as far as that says whether it can be a call: on a line of its own, behind a
//! sentence, within one, or quoted.
//!
//! The rule is positive. A call begins where words have come to an end; what stands behind anything else (a quotation
//! mark, a bracket, a tag, a rule of dashes, a log line's `>`, indentation) is spoken of.

/// How something stands in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// At the beginning of the message, or on a line of its own behind words. `presented`: those end in a colon.
    Own { presented: bool },
    /// On a line with words, right behind the end of a sentence.
    Behind,
    /// Within a sentence.
    Within,
    /// Behind something that quotes it.
    Quoted,
}

impl Stand {
    /// Whether a call may begin so.
    pub(super) fn may_open(self) -> bool {
        matches!(self, Stand::Own { .. } | Stand::Behind)
    }
}

/// What was passed on the way to a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The last character that is no white space; `None` at the beginning of the message.
    last: Option<char>,
    /// Nothing but white space stands on the line.
    is_blank: bool,
    /// That much of it, in bytes.
    indent: usize,
    /// A letter stands on the line.
    has_letter: bool,
    /// A letter or a digit stands on the last line that is not blank.
    has_words: bool,
}

impl Place {
    /// The beginning of a message, or of what follows thinking.
    pub(super) const NEW: Place = Place { last: None, is_blank: true, indent: 0, has_letter: false, has_words: false };

    /// Goes past a character.
    pub(super) fn pass(&mut self, c: char) {
        match c {
            '\n' => self.pass_block(),
            c if c.is_whitespace() => self.indent += if self.is_blank { c.len_utf8() } else { 0 },
            c => {
                self.has_words = !self.is_blank && self.has_words || c.is_alphanumeric();
                (self.last, self.is_blank) = (Some(c), false);
                self.has_letter |= c.is_alphabetic();
            }
        }
    }

    /// Goes past something that has its lines for itself.
    pub(super) fn pass_block(&mut self) {
        *self = Place { last: self.last, has_words: self.has_words, ..Place::NEW };
    }

    /// Whether nothing but white space stands before it on its line.
    pub(super) fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// The last character before it that is no white space.
    pub(super) fn last(&self) -> Option<char> {
        self.last
    }

    /// How what begins here stands.
    pub(super) fn stand(&self) -> Stand {
        let Some(last) = self.last else { return Stand::Own { presented: false } };
        match (self.is_blank, last) {
            (true, ':' | '：') if self.indent == 0 && self.has_words => Stand::Own { presented: true },
            (true, last) if self.indent == 0 && self.has_words && ends_words(last) => Stand::Own { presented: false },
            (false, '.' | '!' | '?' | '…' | '。' | '！' | '？') if self.has_letter => Stand::Behind,
            (false, last) if last.is_alphanumeric() || matches!(last, ',' | ';' | ':' | '：' | '，' | '–' | '—') => {
                Stand::Within
            }
            _ => Stand::Quoted,
        }
    }
}

/// Whether words can end so: in letters, digits, stops, emphasis or code that is closed. Quotation marks, brackets that
/// open, dashes and the lines that tables are drawn with are none of these.
fn ends_words(c: char) -> bool {
    const ASCII: &str = ".!?,:;)*_`%";
    const QUOTES: &str = "„“”‟«»‹›‘’‚‛「」『』〈〉《》【】〔〕（［｛";
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || ASCII.contains(c);
    }
    !QUOTES.contains(c) && !('\u{2500}'..='\u{257f}').contains(&c)
}
