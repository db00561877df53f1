//! The flattened name of the current leaf.

/// A name that grows with each level and shrinks when it closes.
#[derive(Clone, Debug)]
pub(super) struct Name {
    bytes: Vec<u8>,
    levels: Vec<Level>,
}

#[derive(Clone, Debug)]
struct Level {
    /// Length of the container's own name.
    base: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Object,
    /// With the index of the next element.
    Array(u32),
}

impl Default for Name {
    fn default() -> Self {
        Self { bytes: b"json".to_vec(), levels: Vec::new() }
    }
}

impl Name {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn is_in_object(&self) -> bool {
        matches!(self.levels.last(), Some(Level { kind: Kind::Object, .. }))
    }

    pub(super) fn is_in_array(&self) -> bool {
        matches!(self.levels.last(), Some(Level { kind: Kind::Array(_), .. }))
    }

    pub(super) fn open_object(&mut self) {
        self.levels.push(Level { base: self.bytes.len(), kind: Kind::Object });
    }

    pub(super) fn open_array(&mut self) {
        self.levels.push(Level { base: self.bytes.len(), kind: Kind::Array(0) });
    }

    /// Goes back to the name of the container.
    pub(super) fn end_member(&mut self) {
        if let Some(level) = self.levels.last() {
            self.bytes.truncate(level.base);
        }
    }

    pub(super) fn close(&mut self) {
        self.end_member();
        self.levels.pop();
    }

    /// Names the member `key`; `false` if the name would be longer than `limit`, and then it is cut off.
    pub(super) fn set_key(&mut self, key: &[u8], limit: usize) -> bool {
        self.end_member();
        self.bytes.push(b'.');
        let room = limit.saturating_sub(self.bytes.len());
        let fitting = key.get(..room).unwrap_or(key);
        self.bytes.extend_from_slice(fitting);
        key.len() <= room
    }

    /// Names the next element; `false` if the name becomes longer than `limit`.
    pub(super) fn set_index(&mut self, limit: usize) -> bool {
        let Some(Level { base, kind: Kind::Array(next) }) = self.levels.last_mut() else { return true };
        let index = *next;
        *next = next.saturating_add(1);
        self.bytes.truncate(*base);
        self.bytes.extend_from_slice(b".array_");
        push_decimal(index, &mut self.bytes);
        self.bytes.len() <= limit
    }
}

/// Appends a number in decimal, without the detour through `fmt`.
fn push_decimal(number: u32, bytes: &mut Vec<u8>) {
    let from = bytes.len();
    let mut rest = number;
    loop {
        bytes.push(b'0' + u8::try_from(rest % 10).unwrap_or_default());
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if let Some(digits) = bytes.get_mut(from..) {
        digits.reverse();
    }
}
