//! The pipelines of all rules that look at the same values, as one tree.
//!
//! What pipelines begin with alike is done once, and a text that gives a whole branch nothing to do stands for everything
//! that hangs on it: of most values the text itself is all there is to look at, whatever the number of pipelines.

use crate::transform::Transformation;

use super::marks::{ALWAYS, MarkTable};
use super::pipeline::{PipelineId, Pipelines, Step};
use super::prefilter::{Ask, Scanner};

/// Rules that compare a text, as a row of bits.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pub(crate) rules: Box<[u64]>,
    /// What they have to know about the text.
    pub(crate) ask: Ask,
}

impl Readers {
    fn new(rules: Box<[u64]>, scanner: &Scanner) -> Self {
        let ask = if scanner.asks(&rules) { Ask::Grammars } else { Ask::Literals };
        Self { rules, ask }
    }
}

/// A place in the tree: some first steps of one pipeline or more.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    /// The last of these steps; the root has none.
    pub(crate) step: Option<Step>,
    /// How many steps there are.
    pub(crate) depth: usize,
    /// One past the last branch that grows from this one.
    pub(crate) end: usize,
    /// What wakes this step or one of those behind it.
    pub(crate) triggers: u32,
    /// For a step that does nothing but change the case of letters: what wakes a step behind it, whatever becomes of the
    /// letters. A text without that needs to be changed only if there is a rule that may match it: the prefilter itself
    /// does not tell cases apart, grammars do.
    pub(crate) behind_case: Option<u32>,
    /// Rules whose pipeline ends here; none where none does.
    pub(crate) here: Option<Readers>,
    /// The same with all that grows from here.
    pub(crate) all: Readers,
}

/// Pipelines and their rules as branches, each before those that grow from it; the first is the root.
pub(super) fn grow(
    rows: &[(PipelineId, Box<[u64]>)],
    pipelines: &Pipelines,
    marks: &MarkTable,
    scanner: &Scanner,
) -> Box<[Branch]> {
    let mut sorted: Vec<(&[Step], &[u64])> =
        rows.iter().map(|(pipeline, rules)| (pipelines.get(*pipeline).steps.as_slice(), &**rules)).collect();
    sorted.sort_by(|(one, _), (other, _)| one.iter().map(|step| step.number).cmp(other.iter().map(|step| step.number)));
    let words = rows.first().map_or(0, |(_, rules)| rules.len());
    let mut buds = vec![Bud { step: None, depth: 0, here: vec![0; words] }];
    let mut path: &[Step] = &[];
    for (steps, rules) in sorted {
        let alike = steps.iter().zip(path).take_while(|(one, other)| one == other).count();
        for (depth, step) in (1..).zip(steps).skip(alike) {
            buds.push(Bud { step: Some(*step), depth, here: vec![0; words] });
        }
        if let Some(last) = buds.last_mut() {
            last.here.iter_mut().zip(rules).for_each(|(here, rules)| *here |= rules);
        }
        path = steps;
    }
    (0..).zip(&buds).filter_map(|(at, bud)| bud.open(buds.get(at..)?, at, marks, scanner)).collect()
}

/// A branch before it is known what grows from it.
struct Bud {
    step: Option<Step>,
    depth: usize,
    here: Vec<u64>,
}

impl Bud {
    /// The branch at a place; `rest` begins with this one.
    fn open(&self, rest: &[Self], at: usize, marks: &MarkTable, scanner: &Scanner) -> Option<Branch> {
        let behind = rest.iter().skip(1).take_while(|bud| bud.depth > self.depth).count();
        let (own, behind) = rest.get(..=behind)?.split_first()?;
        let mut all = own.here.clone();
        let mut below = 0;
        for bud in behind {
            all.iter_mut().zip(&bud.here).for_each(|(all, here)| *all |= here);
            below |= bud.step.map_or(0, |step| step.triggers);
        }
        let here = Some(Readers::new(own.here.clone().into(), scanner));
        let all = Readers::new(all.into(), scanner);
        let letters = own.step.and_then(|step| letters_from(step.transformation));
        let wakes = letters.map(|letters| marks.marks(letters).triggers & !ALWAYS & below);
        Some(Branch {
            step: own.step,
            depth: self.depth,
            end: at + 1 + behind.len(),
            triggers: own.step.map_or(0, |step| step.triggers) | below,
            behind_case: wakes.filter(|wakes| *wakes == 0 && all.ask == Ask::Literals).map(|_| below),
            here: here.filter(|here| here.rules.iter().any(|word| *word != 0)),
            all,
        })
    }
}

/// The letters that a change of case puts in.
fn letters_from(transformation: Transformation) -> Option<&'static [u8]> {
    match transformation {
        Transformation::Lowercase => Some(b"abcdefghijklmnopqrstuvwxyz"),
        Transformation::Uppercase => Some(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        _ => None,
    }
}
