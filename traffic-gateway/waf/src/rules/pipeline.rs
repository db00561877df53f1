//! The transformations of a rule, in order, and which bytes give each of them something to do.

use crate::transform::{Changed, Transformation};

use super::marks::{ALWAYS, ByteSet, MarkTable};

/// One transformation as the rules of one set number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Which one.
    pub(crate) transformation: Transformation,
    /// Its number within the rule set.
    pub(crate) number: u8,
    /// A text without any of these marks stays as it is.
    pub(crate) triggers: u32,
}

impl Step {
    /// Writes the result to `out` and says whether it differs from the value.
    pub(crate) fn apply(&self, value: &[u8], out: &mut Vec<u8>) -> bool {
        self.transformation.apply(value, out) == Changed::Yes
    }
}

/// Transformations in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pipeline {
    pub(crate) steps: Vec<Step>,
    /// All triggers of the steps: a text without them passes unchanged.
    pub(crate) triggers: u32,
}

/// The number of a pipeline within the rule set. Number 0 does nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PipelineId(pub(crate) u16);

/// All pipelines of a rule set, each once.
#[derive(Clone, Debug)]
pub(crate) struct Pipelines {
    all: Vec<Pipeline>,
    steps: Vec<Step>,
}

impl Pipelines {
    pub(crate) fn new() -> Self {
        Self { all: vec![Pipeline::default()], steps: Vec::new() }
    }

    /// The number of a pipeline. At most 65,535 different ones; more share none and fail to compile long before.
    pub(crate) fn add(&mut self, table: &mut MarkTable, transformations: &[Transformation]) -> Option<PipelineId> {
        let mut steps = Vec::with_capacity(transformations.len());
        for transformation in transformations {
            steps.push(self.step(table, *transformation)?);
        }
        self.number_of(steps)
    }

    /// What a text goes through up to each step, for rules that compare after every one.
    pub(crate) fn prefixes(&mut self, id: PipelineId) -> Option<Vec<PipelineId>> {
        let steps = self.get(id).steps.clone();
        (0..=steps.len()).map(|length| self.number_of(steps.get(..length)?.to_vec())).collect()
    }

    fn number_of(&mut self, steps: Vec<Step>) -> Option<PipelineId> {
        let triggers = steps.iter().fold(0, |all, step| all | step.triggers);
        let pipeline = Pipeline { steps, triggers };
        let number = match self.all.iter().position(|known| *known == pipeline) {
            Some(number) => number,
            None => {
                self.all.push(pipeline);
                self.all.len() - 1
            }
        };
        u16::try_from(number).ok().map(PipelineId)
    }

    fn step(&mut self, table: &mut MarkTable, transformation: Transformation) -> Option<Step> {
        if let Some(known) = self.steps.iter().find(|step| step.transformation == transformation) {
            return Some(*known);
        }
        let number = u8::try_from(self.steps.len()).ok()?;
        let triggers = match woken_by(transformation) {
            Some(set) if number < 31 => {
                table.set_trigger(1 << number, &set);
                1 << number
            }
            _ => ALWAYS,
        };
        let step = Step { transformation, number, triggers };
        self.steps.push(step);
        Some(step)
    }

    /// The names of its transformations.
    pub(super) fn names(&self, id: PipelineId) -> Vec<&'static str> {
        self.get(id).steps.iter().map(|step| step.transformation.name()).collect()
    }

    pub(crate) fn get(&self, id: PipelineId) -> &Pipeline {
        static NOTHING: Pipeline = Pipeline { steps: Vec::new(), triggers: 0 };
        self.all.get(usize::from(id.0)).unwrap_or(&NOTHING)
    }
}

/// The bytes without which a transformation changes nothing, or `None` when it may change any text. A test compares
/// this with what the transformations do.
fn woken_by(transformation: Transformation) -> Option<ByteSet> {
    const SPACES: &[u8] = b" \t\n\x0b\x0c\r\x00\x85\xa0";
    let mut set = ByteSet::default();
    let bytes: &[u8] = match transformation {
        Transformation::Lowercase => {
            set.insert_range(b'A', b'Z');
            b""
        }
        Transformation::Uppercase => {
            set.insert_range(b'a', b'z');
            b""
        }
        Transformation::Utf8ToUnicode | Transformation::ParityZero7Bit => {
            set.insert_range(0x80, 0xff);
            b""
        }
        Transformation::CmdLine => {
            set.insert_range(b'A', b'Z');
            b" \t\n\x0b\x0c\r\x00\x85\xa0\\\"'^,;/("
        }
        Transformation::CompressWhitespace
        | Transformation::RemoveWhitespace
        | Transformation::Trim
        | Transformation::TrimLeft
        | Transformation::TrimRight => SPACES,
        Transformation::CssDecode | Transformation::EscapeSeqDecode | Transformation::JsDecode => b"\\",
        Transformation::HtmlEntityDecode => b"&",
        Transformation::NormalizePath => b"/.",
        Transformation::NormalizePathWin => b"/.\\",
        Transformation::RemoveComments | Transformation::RemoveCommentsChar => b"/*-#<>!",
        Transformation::RemoveNulls | Transformation::ReplaceNulls => b"\0",
        Transformation::ReplaceComments => b"/",
        Transformation::SqlHexDecode => b"xX",
        Transformation::UrlDecode | Transformation::UrlDecodeUni => b"%+",
        Transformation::Base64Decode
        | Transformation::Base64DecodeExt
        | Transformation::Base64Encode
        | Transformation::HexDecode
        | Transformation::HexEncode
        | Transformation::Length
        | Transformation::Md5
        | Transformation::ParityEven7Bit
        | Transformation::ParityOdd7Bit
        | Transformation::Sha1
        | Transformation::UrlEncode => return None,
    };
    Some(set.union(&ByteSet::of(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::{MarkTable, Pipelines, woken_by};
    use crate::transform::{Changed, Transformation};

    proptest! {
        #[test]
        fn a_text_without_triggers_is_never_changed(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for transformation in Transformation::ALL {
                let Some(set) = woken_by(*transformation) else { continue };
                let quiet: Vec<u8> = bytes.iter().copied().filter(|byte| !set.contains(*byte)).collect();
                let mut out = Vec::new();
                prop_assert_eq!(transformation.apply(&quiet, &mut out), Changed::No, "{} {:?}", transformation.name(), quiet);
            }
        }
    }

    #[test]
    fn equal_pipelines_share_a_number() {
        let (mut table, mut pipelines) = (MarkTable::new(), Pipelines::new());
        let lower = pipelines.add(&mut table, &[Transformation::Lowercase]).unwrap();
        let both = pipelines.add(&mut table, &[Transformation::UrlDecodeUni, Transformation::Lowercase]).unwrap();
        assert_ne!(lower, both);
        assert_eq!(pipelines.add(&mut table, &[Transformation::Lowercase]), Some(lower));
        assert_eq!(pipelines.get(both).triggers.count_ones(), 2);
    }
}
