//! From a reader to a writer, line by line and as soon as a line is there.

use std::io::{self, Read, Write};

use super::Annotator;

/// Bytes that are read at a time, and the longest line that is looked at in one piece.
const CHUNK: usize = 256 * 1024;

/// Copies all text of `reader` to `writer` with its addresses replaced, and writes each line as soon as it is there.
///
/// `before_each` is called before what was read is looked at. A line longer than 256 KiB is looked at in pieces.
///
/// # Errors
/// Reading or writing fails.
pub fn copy(
    mut reader: impl Read,
    mut writer: impl Write,
    annotator: &mut Annotator,
    mut before_each: impl FnMut(&mut Annotator),
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut out = Vec::with_capacity(CHUNK);
    // What was read and not yet written.
    let mut held = 0;
    loop {
        let count = match reader.read(&mut buffer[held..]) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let filled = held + count;
        let ready = if count == 0 { filled } else { ready(&buffer[..filled], held) };
        if ready > 0 {
            before_each(annotator);
            out.clear();
            annotator.annotate(&buffer[..ready], &mut out);
            writer.write_all(&out)?;
            writer.flush()?;
        }
        if count == 0 {
            return Ok(());
        }
        buffer.copy_within(ready..filled, 0);
        held = filled - ready;
    }
}

/// How many bytes can be looked at: up to the last line break, which is not before `from`; where the buffer is full without
/// one, up to a place where no address is.
fn ready(filled: &[u8], from: usize) -> usize {
    if let Some(last) = memchr::memrchr(b'\n', &filled[from..]) {
        return from + last + 1;
    }
    if filled.len() < CHUNK {
        return 0;
    }
    // Neither part of an address nor of what is looked at beside it.
    let apart = |byte: &u8| !byte.is_ascii_alphanumeric() && !b".:%[]/_-".contains(byte);
    filled.iter().rposition(apart).map_or(filled.len(), |last| last + 1)
}
