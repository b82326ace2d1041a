//! One frame: an entry as bytes, with all that is needed to notice damage.
//!
//! Numbers are little-endian. The payload follows the header, and nothing follows the payload.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 3 | magic, `agj` |
//! | 3 | 1 | version of the format, 1 |
//! | 4 | 2 | kind of the entry; a number is never used for another kind |
//! | 6 | 2 | flags: bit 0, a reader that does not know the kind may pass over the entry; the others are 0 |
//! | 8 | 4 | length of the payload in bytes |
//! | 12 | 4 | CRC32C over all other bytes of the frame |
//! | 16 | 8 | epoch under which the entry was written |
//! | 24 | 16 | chain: the first 16 bytes of BLAKE3 over the chain before (zeros before the first frame), bytes 0–11 and 16–23, and the payload |
//! | 40 | … | payload, JSON (see [`v1`](super::v1)) |
//!
//! The CRC finds damage of one frame by that frame alone; the chain finds frames that are missing, exchanged or from
//! another history. Everything here is a pure function.

use bytes::Bytes;

use crate::store::Chain;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 40;

/// Longest frame, header included: what stores are built for. Larger texts go to blobs, so that an entry comes nowhere
/// near.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const MAGIC: &[u8; 3] = b"agj";
const VERSION: u8 = 1;
const IGNORABLE: u16 = 1;

/// A frame that is whole. Whether it continues the frames before it is for [`Frame::verify`] to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which kind of entry.
    pub kind: u16,
    /// Whether a reader that does not know the kind may pass over the entry.
    pub ignorable: bool,
    /// The epoch under which it was written.
    pub epoch: u64,
    /// The chain value behind this frame.
    pub chain: Chain,
    /// The entry, JSON.
    pub payload: &'a [u8],
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end within the header.
    #[error("{0} bytes are too few for a frame")]
    Short(usize),
    /// It does not begin like a frame.
    #[error("these bytes are no frame")]
    Magic,
    /// Another version of the format.
    #[error("format version {0} is not known here; a newer agentd may read it")]
    Version(u8),
    /// There are more or fewer bytes than the header says.
    #[error("the frame should have {expected} bytes and has {found}")]
    Length {
        /// Header and payload, by the header.
        expected: u64,
        /// Bytes there are.
        found: usize,
    },
    /// It is longer than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is more than {FRAME_BYTES_MAX}")]
    Large(usize),
    /// The checksum is of other bytes.
    #[error("the checksum does not match")]
    Checksum,
    /// Flags that this version does not know.
    #[error("flags {0:#06x} are not known here; a newer agentd may read it")]
    Flags(u16),
    /// It does not continue the frame before it.
    #[error("the frame does not continue the one before it")]
    Chain,
}

/// Room for the frames of most turns, so that writing them moves nothing.
const WRITTEN_BYTES: usize = 2048;

/// Frames on their way out, one behind the other: those of one append are one piece of memory. Each is begun, gets its
/// payload written behind its header, and is sealed.
#[derive(Default)]
pub struct Written {
    bytes: Vec<u8>,
    /// Where each sealed frame ends.
    ends: Vec<usize>,
}

impl Written {
    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Begins a frame, behind whose header the payload is to be written.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        let start = self.start();
        self.bytes.truncate(start);
        if start == 0 {
            self.bytes.reserve(WRITTEN_BYTES);
        }
        self.bytes.resize(start + HEADER_BYTES, 0);
        &mut self.bytes
    }

    /// Makes of what was begun the frame that follows `previous`, the chain value behind the frame before it, and returns
    /// its own.
    ///
    /// # Errors
    /// [`Error::Large`], and [`Error::Short`] when none was begun. Nothing is left of the frame then.
    pub fn seal(&mut self, kind: u16, ignorable: bool, epoch: u64, previous: Chain) -> Result<Chain, Error> {
        let start = self.start();
        let sealed = seal(&mut self.bytes[start..], kind, ignorable, epoch, previous);
        match sealed {
            Ok(_) => self.ends.push(self.bytes.len()),
            Err(_) => self.bytes.truncate(start),
        }
        sealed
    }

    /// Hands out all sealed frames.
    pub fn take(&mut self) -> Vec<Bytes> {
        // Copied, so that what is kept takes no more than it needs: cut down, the room for it would leave holes behind.
        let mut bytes = Bytes::copy_from_slice(&std::mem::take(&mut self.bytes));
        let mut start = 0;
        let frame = |end| bytes.split_to(end - std::mem::replace(&mut start, end));
        self.ends.drain(..).map(frame).collect()
    }

    /// Where the next frame begins.
    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// Writes the header of a frame that ends with its payload.
fn seal(frame: &mut [u8], kind: u16, ignorable: bool, epoch: u64, previous: Chain) -> Result<Chain, Error> {
    let bytes = frame.len();
    let length = match bytes.checked_sub(HEADER_BYTES).map(u32::try_from) {
        Some(Ok(length)) if bytes <= FRAME_BYTES_MAX => length,
        Some(_) => return Err(Error::Large(bytes)),
        None => return Err(Error::Short(bytes)),
    };
    let start = start(kind, if ignorable { IGNORABLE } else { 0 }, length);
    // What the chain covers stands before the payload for a moment: one piece is hashed much faster than several.
    frame[4..20].copy_from_slice(&previous.0);
    frame[20..32].copy_from_slice(&start);
    frame[32..40].copy_from_slice(&epoch.to_le_bytes());
    let chain = Chain(array(&blake3::hash(&frame[4..]).as_bytes()[..16]));

    frame[..12].copy_from_slice(&start);
    frame[16..24].copy_from_slice(&epoch.to_le_bytes());
    frame[24..40].copy_from_slice(&chain.0);
    let checksum = checksum(frame);
    frame[12..16].copy_from_slice(&checksum.to_le_bytes());
    Ok(chain)
}

/// The one frame with this payload that follows `previous`, and its chain value: for those who have no more to write.
///
/// # Errors
/// [`Error::Large`] and no other.
pub fn encode(
    kind: u16,
    ignorable: bool,
    epoch: u64,
    previous: Chain,
    payload: &[u8],
) -> Result<(Bytes, Chain), Error> {
    let mut written = Written::default();
    written.begin().extend_from_slice(payload);
    let chain = written.seal(kind, ignorable, epoch, previous)?;
    Ok((written.take().pop().unwrap_or_default(), chain))
}

/// Reads a frame, checking all but the chain.
///
/// # Errors
/// When the bytes are not exactly one whole frame.
pub fn decode(bytes: &[u8]) -> Result<Frame<'_>, Error> {
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(Error::Large(bytes.len()));
    }
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Error::Short(bytes.len()));
    };
    if header[..3] != *MAGIC {
        return Err(Error::Magic);
    }
    if header[3] != VERSION {
        return Err(Error::Version(header[3]));
    }
    let expected = HEADER_BYTES as u64 + u64::from(u32::from_le_bytes(array(&header[8..12])));
    if expected != bytes.len() as u64 {
        return Err(Error::Length { expected, found: bytes.len() });
    }
    if checksum(bytes) != u32::from_le_bytes(array(&header[12..16])) {
        return Err(Error::Checksum);
    }
    let flags = u16::from_le_bytes(array(&header[6..8]));
    if flags & !IGNORABLE != 0 {
        return Err(Error::Flags(flags));
    }
    Ok(Frame {
        kind: u16::from_le_bytes(array(&header[4..6])),
        ignorable: flags & IGNORABLE != 0,
        epoch: u64::from_le_bytes(array(&header[16..24])),
        chain: Chain(array(&header[24..40])),
        payload,
    })
}

impl Frame<'_> {
    /// Checks that this frame follows `previous`, the chain value behind the frame before it.
    ///
    /// # Errors
    /// [`Error::Chain`] and no other.
    pub fn verify(&self, previous: Chain) -> Result<(), Error> {
        // A frame that was read is at most 16 MiB long.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let start = start(self.kind, if self.ignorable { IGNORABLE } else { 0 }, length);
        if self.chain == chain(previous, &start, self.epoch, self.payload) { Ok(()) } else { Err(Error::Chain) }
    }
}

/// The header up to the checksum.
fn start(kind: u16, flags: u16, length: u32) -> [u8; 12] {
    let mut start = [0; 12];
    start[..3].copy_from_slice(MAGIC);
    start[3] = VERSION;
    start[4..6].copy_from_slice(&kind.to_le_bytes());
    start[6..8].copy_from_slice(&flags.to_le_bytes());
    start[8..].copy_from_slice(&length.to_le_bytes());
    start
}

fn chain(previous: Chain, start: &[u8; 12], epoch: u64, payload: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&previous.0).update(start).update(&epoch.to_le_bytes()).update(payload);
    Chain(array(&hasher.finalize().as_bytes()[..16]))
}

/// The checksum of a frame of at least [`HEADER_BYTES`].
fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[..12]), &frame[16..])
}

/// The `N` bytes of a slice that is `N` long.
fn array<const N: usize>(slice: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(slice);
    array
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEFORE: Chain = Chain([7; 16]);

    fn any_frame() -> impl Strategy<Value = (u16, bool, u64, Vec<u8>)> {
        (any::<u16>(), any::<bool>(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..200))
    }

    /// As [`decode`] and [`Frame::verify`] together: what a reader does with each frame.
    fn read(bytes: &[u8], previous: Chain) -> Result<Frame<'_>, Error> {
        let frame = decode(bytes)?;
        frame.verify(previous)?;
        Ok(frame)
    }

    /// The bytes of a frame never change again: spelt out once, by hand.
    #[test]
    fn the_layout_is_the_documented_one() {
        let (bytes, chain) = encode(0x0203, true, 0x0405, BEFORE, b"{}").unwrap();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[7; 16]);
        hasher.update(b"agj\x01\x03\x02\x01\x00\x02\x00\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00{}");
        let hash = hasher.finalize().as_bytes()[..16].to_vec();
        let mut covered = b"agj\x01\x03\x02\x01\x00\x02\x00\x00\x00\x05\x04\x00\x00\x00\x00\x00\x00".to_vec();
        covered.extend(&hash);
        covered.extend(b"{}");
        let mut expected = b"agj\x01\x03\x02\x01\x00\x02\x00\x00\x00".to_vec();
        expected.extend(crc32c::crc32c(&covered).to_le_bytes());
        expected.extend(&covered[12..]);
        assert_eq!(bytes, expected);
        assert_eq!(chain.0[..], hash);
    }

    #[test]
    fn frames_come_out_as_they_went_in_and_nothing_is_left_of_those_too_large() {
        let mut written = Written::default();
        assert_eq!(written.seal(1, false, 1, BEFORE), Err(Error::Short(0)));
        assert!(written.is_empty());
        let (mut expected, mut chain) = (Vec::new(), BEFORE);
        for payload in ["{}", "", "{\"a\":1}"] {
            written.begin().extend_from_slice(b"given up");
            written.begin().extend_from_slice(payload.as_bytes());
            let (frame, next) = encode(7, true, 3, chain, payload.as_bytes()).unwrap();
            chain = written.seal(7, true, 3, chain).unwrap();
            assert_eq!(chain, next);
            expected.push(frame);
            written.begin().resize(3 * FRAME_BYTES_MAX, b' ');
            assert!(matches!(written.seal(1, false, 1, chain), Err(Error::Large(_))));
        }
        assert_eq!(written.take(), expected);
        assert!(written.is_empty() && written.take().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (good, _) = encode(1, false, 1, BEFORE, b"{}").unwrap();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = byte;
            bytes
        };
        let mut flagged = with(6, 2);
        let sum = checksum(&flagged);
        flagged[12..16].copy_from_slice(&sum.to_le_bytes());

        let large = vec![0; FRAME_BYTES_MAX - HEADER_BYTES + 1];
        assert_eq!(encode(1, false, 1, BEFORE, &large), Err(Error::Large(FRAME_BYTES_MAX + 1)));
        assert_eq!(decode(&vec![0; FRAME_BYTES_MAX + 1]), Err(Error::Large(FRAME_BYTES_MAX + 1)));
        assert_eq!(decode(&good[..39]), Err(Error::Short(39)));
        assert_eq!(decode(&with(0, b'x')), Err(Error::Magic));
        assert_eq!(decode(&with(3, 2)), Err(Error::Version(2)));
        assert_eq!(decode(&with(8, 3)), Err(Error::Length { expected: 43, found: 42 }));
        assert_eq!(decode(&with(41, b' ')), Err(Error::Checksum));
        assert_eq!(decode(&flagged), Err(Error::Flags(2)));
        assert_eq!(read(&good, Chain::default()), Err(Error::Chain));
    }

    #[test]
    fn the_longest_frame_is_read_again() {
        let payload = vec![b' '; FRAME_BYTES_MAX - HEADER_BYTES];
        let (bytes, _) = encode(1, false, 1, BEFORE, &payload).unwrap();
        assert_eq!(bytes.len(), FRAME_BYTES_MAX);
        assert_eq!(read(&bytes, BEFORE).unwrap().payload, payload);
    }

    proptest! {
        #[test]
        fn a_frame_reads_as_it_was_written((kind, ignorable, epoch, payload) in any_frame()) {
            let (bytes, chain) = encode(kind, ignorable, epoch, BEFORE, &payload).unwrap();
            prop_assert_eq!(read(&bytes, BEFORE), Ok(Frame { kind, ignorable, epoch, chain, payload: &payload }));
        }

        #[test]
        fn every_flipped_bit_is_noticed((kind, ignorable, epoch, payload) in any_frame()) {
            let (bytes, _) = encode(kind, ignorable, epoch, BEFORE, &payload).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(decode(&damaged).is_err(), "bit {}", bit);
            }
        }

        #[test]
        fn every_cut_and_every_excess_is_noticed((kind, ignorable, epoch, payload) in any_frame()) {
            let (bytes, _) = encode(kind, ignorable, epoch, BEFORE, &payload).unwrap();
            for length in 0..bytes.len() {
                prop_assert!(decode(&bytes[..length]).is_err(), "length {}", length);
            }
            prop_assert!(decode(&[&bytes[..], b"\0"].concat()).is_err());
        }

        /// Also where the checksum happens to fit, the chain tells: it covers each field by itself.
        #[test]
        fn another_field_is_another_chain((kind, ignorable, epoch, payload) in any_frame()) {
            let chain_of = |kind, ignorable, epoch, previous, payload: &[u8]| {
                encode(kind, ignorable, epoch, previous, payload).unwrap().1
            };
            let longer = [&payload[..], b" "].concat();
            let chain = chain_of(kind, ignorable, epoch, BEFORE, &payload);
            prop_assert_ne!(chain, chain_of(kind ^ 1, ignorable, epoch, BEFORE, &payload));
            prop_assert_ne!(chain, chain_of(kind, !ignorable, epoch, BEFORE, &payload));
            prop_assert_ne!(chain, chain_of(kind, ignorable, epoch ^ 1, BEFORE, &payload));
            prop_assert_ne!(chain, chain_of(kind, ignorable, epoch, Chain::default(), &payload));
            prop_assert_ne!(chain, chain_of(kind, ignorable, epoch, BEFORE, &longer));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, BEFORE);
            let _ = read(&[b"agj\x01", &bytes[..]].concat(), BEFORE);
        }
    }
}
