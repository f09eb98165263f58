//! An affine map between two layouts, as diagonals.
//!
//! Entry `(s, t)` of a map from the slots of a ciphertext to those of another lies on diagonal `t - s`: a rotation by
//! that many slots brings the input to where it is needed (Halevi and Shoup 2014). The diagonals are enumerated from
//! the rows of the map, never from a matrix. Slots that hold no element of the result may hold anything, and are
//! filled so that diagonals repeat.

use crate::Linear;
use crate::layout::{Copies, Layout};
use foldhash::fast::FixedState;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

/// A map from one layout to another.
pub(crate) struct Lowering<'a> {
    linear: &'a Linear,
    from: &'a Layout,
    to: &'a Layout,
    masked: bool,
    /// Whether the operand's slots without an element are zero: then it does not matter what multiplies them.
    pub(crate) operand_is_clear: bool,
    /// Height and width of the result's planes, if it has some: then diagonals are found from a few positions.
    plane: Option<[usize; 2]>,
}

/// A diagonal's place: result and operand by their ciphertext, and the rotation that brings one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) output: usize,
    pub(crate) input: usize,
    pub(crate) step: i64,
}

/// Most values of diagonals that are looked at together to find how soon they repeat.
const MAX_GROUP: usize = 1 << 22;

/// Values of a diagonal, repeated over all slots.
pub(crate) type Diagonals = BTreeMap<Place, Vec<f64>>;

/// How rotations are taken in two steps: what is left modulo `modulus`, from `-shift` on, is the baby step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) modulus: i64,
    pub(crate) shift: i64,
}

/// A split, and how many of its baby and giant steps are not zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitSteps {
    pub(crate) split: Split,
    pub(crate) baby_steps: usize,
    pub(crate) giant_steps: usize,
}

impl SplitSteps {
    /// All splits of the rotations of some places; planes may have rows of `columns` slots.
    pub(crate) fn all(places: &BTreeSet<Place>, slots: usize, columns: usize) -> Vec<Self> {
        let steps = distinct(places.iter().map(|place| place.step));
        Split::all(slots, columns)
            .map(|split| {
                let count = |part: fn((i64, i64)) -> i64| {
                    distinct(steps.iter().map(|&step| part(split.parts(step))))
                        .iter()
                        .filter(|&&step| step != 0)
                        .count()
                };
                Self { split, baby_steps: count(|parts| parts.0), giant_steps: count(|parts| parts.1) }
            })
            .collect()
    }
}

/// Every number once, in order.
fn distinct(numbers: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut numbers: Vec<i64> = numbers.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl<'a> Lowering<'a> {
    /// With `masked`, slots without an element are zero.
    pub(crate) fn new(linear: &'a Linear, from: &'a Layout, to: &'a Layout, masked: bool) -> Self {
        let plane = linear.planes().map(|planes| [planes.height, planes.width]);
        Self { linear, from, to, masked, operand_is_clear: false, plane }
    }

    /// Rotations that, doubling after doubling, sum the partial results that lie so far apart.
    pub(crate) fn doublings(&self) -> Vec<i64> {
        let Some(window) = self.window() else { return Vec::new() };
        let steps = std::iter::successors(Some(window), |w| Some(w * 2));
        steps.take_while(|&w| w < self.period()).map(|w| w as i64).collect()
    }

    /// The diagonals that there are, by sampling positions.
    pub(crate) fn places(&self) -> BTreeSet<Place> {
        let mut places = HashSet::with_hasher(FixedState::default());
        let mut last = None;
        for output in self.sample() {
            self.row(output, |place, _, _| {
                if last != Some(place) {
                    last = Some(place);
                    places.insert(place);
                }
            });
        }
        places.into_iter().collect()
    }

    /// The diagonals of one ciphertext of the result.
    pub(crate) fn diagonals(&self, ciphertext: usize) -> Diagonals {
        let (table, needed) = self.table(ciphertext, 0..usize::MAX);
        let diagonals = table.iter().filter(|(_, values)| values.iter().any(|v| *v != 0.0));
        diagonals.map(|(place, values)| (place, self.shorten(place, values, &needed).into_owned())).collect()
    }

    /// Slots after which all diagonals of one ciphertext of the result repeat.
    pub(crate) fn longest(&self, ciphertext: usize) -> usize {
        let group = (MAX_GROUP / self.len()).max(1);
        let mut longest = 1;
        for first in (0..).step_by(group) {
            let (table, needed) = self.table(ciphertext, first..first + group);
            let lens = table.iter().map(|(place, values)| self.shorten(place, values, &needed).len());
            longest = lens.fold(longest, usize::max);
            // None is longer, or there are no more.
            if longest == self.len() || table.numbers.len() <= first + group {
                break;
            }
        }
        longest
    }

    /// The numbered diagonals of one ciphertext of the result that lie in a range, and which of its slots are needed.
    #[expect(clippy::indexing_slicing, reason = "places lie in the ciphertexts")]
    fn table(&self, ciphertext: usize, numbers: Range<usize>) -> (Table, Vec<bool>) {
        let mut table = Table::new(self.len(), numbers);
        // Where partial sums are added up, there is no slot that nobody needs.
        let mut needed = vec![self.masked || !self.doublings().is_empty(); self.len()];
        for output in 0..self.linear.outputs() {
            let (at, slot) = self.to.place(output);
            if at != ciphertext {
                continue;
            }
            needed[slot] = true;
            let mut entry = 0;
            self.row(output, |place, slot, weight| {
                table.add(entry, place, slot, weight);
                entry += 1;
            });
        }
        (table, needed)
    }

    /// The shortest period of a diagonal's values.
    fn shorten<'v>(&self, place: Place, values: &'v [f64], needed: &[bool]) -> Cow<'v, [f64]> {
        match self.operand_is_clear {
            true => shorten(values, &self.read(place, needed)),
            false => shorten(values, needed),
        }
    }

    /// Those of the `needed` slots of the result at which a diagonal meets an element of the operand.
    fn read(&self, place: Place, needed: &[bool]) -> Vec<bool> {
        let slots = self.from.slots as i64;
        let mut read = vec![false; needed.len()];
        for slot in self.from.slots_of(place.input).flat_map(|slot| self.from.copies_of(slot)) {
            let at = (slot as i64 - place.step).rem_euclid(slots) as usize;
            // Diagonals of a result that repeats are as long as its period; slots beyond it are copies.
            if let (Some(read), Some(true)) = (read.get_mut(at), needed.get(at)) {
                *read = true;
            }
        }
        read
    }

    /// Calls `f(place, slot, weight)` for the entries of a row.
    fn row(&self, output: usize, mut f: impl FnMut(Place, usize, f64)) {
        let (ciphertext, slot) = self.to.place(output);
        let slots = self.from.slots;
        let Some(window) = self.window() else {
            // What is masked is zero wherever no weight is; elsewhere, diagonals repeat and make the copies.
            let copies = if self.masked { self.to.copies_of(slot) } else { vec![slot] };
            return self.linear.row(output, &mut |element, weight| {
                for &slot in &copies {
                    let (input, step) = self.from.step(element, slot);
                    // Runs that leave slots over do not come round.
                    let step = match slots.is_power_of_two() {
                        true => signed(step, slots),
                        false if slot + step >= slots => step as i64 - slots as i64,
                        false => step as i64,
                    };
                    f(Place { output: ciphertext, input, step }, slot, weight);
                }
            });
        };
        let period = self.period();
        let len = self.len();
        self.linear.row(output, &mut |element, weight| {
            let (input, place) = self.from.place(element);
            let step = signed((place + slots - slot) % window, window);
            let at =
                if window == period { slot } else { (place as i64 - step).rem_euclid(len as i64) as usize };
            f(Place { output: ciphertext, input, step }, at, weight);
        });
    }

    /// For a result that repeats: number of operands around its own that each slot sums over.
    fn window(&self) -> Option<usize> {
        match self.to.copies {
            Copies::Period(period) => Some(period.min(self.period())),
            _ => None,
        }
    }

    /// Slots after which the operand repeats.
    fn period(&self) -> usize {
        self.from.period()
    }

    /// After how many slots the diagonals repeat at the latest.
    fn len(&self) -> usize {
        match self.to.copies {
            Copies::Period(period) => period.max(self.period()),
            _ => self.from.slots,
        }
    }

    /// Elements of the result that between them use every diagonal: a diagonal depends on the position in a plane
    /// only where the plane ends.
    fn sample(&self) -> Vec<usize> {
        let count = self.linear.outputs();
        let Some([height, width]) = self.plane else { return (0..count).collect() };
        let of_axis = |len: usize| BTreeSet::from([0, 1, len / 2, len.saturating_sub(2), len - 1]);
        let rows = of_axis(height);
        let columns = of_axis(width);
        (0..count)
            .filter(|i| rows.contains(&(i / width % height)) && columns.contains(&(i % width)))
            .collect()
    }
}

/// Values of the numbered diagonals of a range, in one allocation: an allocator returns a large one to the system and keeps many
/// small ones.
struct Table {
    len: usize,
    range: Range<usize>,
    /// The diagonals of the range, in order.
    places: Vec<Place>,
    values: Vec<f64>,
    /// Number of each diagonal, in the order of their first entries.
    numbers: HashMap<Place, usize, FixedState>,
    /// Diagonal of each entry of the last row and its number: neighbouring rows mostly have the same.
    last: Vec<(Place, usize)>,
}

impl Table {
    fn new(len: usize, range: Range<usize>) -> Self {
        Self {
            len,
            range,
            places: Vec::new(),
            values: Vec::new(),
            numbers: HashMap::with_hasher(FixedState::default()),
            last: Vec::new(),
        }
    }

    /// Adds to a slot of a diagonal; `entry` counts the entries of a row.
    #[expect(clippy::indexing_slicing, reason = "every diagonal of the range has a value for each slot")]
    fn add(&mut self, entry: usize, place: Place, slot: usize, weight: f64) {
        let number = match self.last.get(entry) {
            Some(&(last, number)) if last == place => number,
            _ => self.number(entry, place),
        };
        if self.range.contains(&number) {
            self.values[(number - self.range.start) * self.len + slot] += weight;
        }
    }

    fn number(&mut self, entry: usize, place: Place) -> usize {
        let next = self.numbers.len();
        let number = *self.numbers.entry(place).or_insert(next);
        if number == next && self.range.contains(&number) {
            self.places.push(place);
            self.values.resize(self.values.len() + self.len, 0.0);
        }
        match self.last.get_mut(entry) {
            Some(last) => *last = (place, number),
            None => self.last.push((place, number)),
        }
        number
    }

    fn iter(&self) -> impl Iterator<Item = (Place, &[f64])> {
        self.places.iter().copied().zip(self.values.chunks(self.len))
    }
}

impl Split {
    /// Every rotation in one step.
    pub(crate) const NONE: Self = Self { modulus: 1, shift: 0 };

    /// Baby and giant step of a rotation.
    pub(crate) fn parts(&self, step: i64) -> (i64, i64) {
        let baby = (step + self.shift).rem_euclid(self.modulus) - self.shift;
        (baby, step - baby)
    }

    /// All candidates for this number of slots: powers of two and, if rows are no power of two, of whole rows.
    fn all(slots: usize, columns: usize) -> impl Iterator<Item = Self> {
        let doubled = move |first: usize| {
            std::iter::successors(Some(first as i64), |m| Some(m * 2)).take_while(move |&m| m <= slots as i64)
        };
        let rows = (!columns.is_power_of_two()).then(|| doubled(columns));
        doubled(1).chain(rows.into_iter().flatten()).flat_map(|modulus| {
            [0, modulus / 8, modulus / 4, modulus / 2].map(|shift| Self { modulus, shift })
        })
    }
}

/// The rotation nearest to none.
fn signed(step: usize, slots: usize) -> i64 {
    if step > slots / 2 { step as i64 - slots as i64 } else { step as i64 }
}

/// The shortest period that agrees wherever values are needed; of values whose number is no power of two, one or all.
fn shorten<'v>(values: &'v [f64], needed: &[bool]) -> Cow<'v, [f64]> {
    if !values.len().is_power_of_two() {
        let mut found = values.iter().zip(needed).filter_map(|(value, needed)| needed.then_some(*value));
        let first = found.next().unwrap_or(0.0);
        return if found.all(|value| agree(first, value)) {
            Cow::Owned(vec![first])
        } else {
            Cow::Borrowed(values)
        };
    }
    let mut values = Cow::Borrowed(values);
    let mut needed = Cow::Borrowed(needed);
    while values.len() > 1 {
        let half = values.len() / 2;
        let (low, high) = values.split_at(half);
        let (low_needed, high_needed) = needed.split_at(half);
        if low
            .iter()
            .zip(high)
            .zip(low_needed.iter().zip(high_needed))
            .any(|((a, b), (a_needed, b_needed))| *a_needed && *b_needed && !agree(*a, *b))
        {
            break;
        }
        let merged = low.iter().zip(high).zip(low_needed).map(|((a, b), n)| if *n { *a } else { *b });
        let merged: Vec<f64> = merged.collect();
        let merged_needed: Vec<bool> = low_needed.iter().zip(high_needed).map(|(a, b)| *a || *b).collect();
        values = Cow::Owned(merged);
        needed = Cow::Owned(merged_needed);
    }
    values
}

/// Whether values differ by no more than roundings.
fn agree(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-14 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Grid;
    use crate::{Convolution, Window, WindowSpec};

    /// 2 to 2 channels of 8x8 in two groups, 3x3 without padding, over 4 planes.
    fn example() -> (Linear, Layout, Layout) {
        let window = WindowSpec {
            input: [8, 8],
            output: [6, 6],
            kernel: [3, 3],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0, 0],
        };
        let weights = (1..=18).map(f64::from).collect();
        let convolution = Convolution::new([2, 2], 2, Window::new(window).unwrap(), weights).unwrap();
        let linear = Linear::new(convolution);
        let grid = Grid { slots: 256, height: 8, width: 8, inner: true };
        (linear, grid.layout([2, 8, 8], [1, 1], 2), grid.layout([2, 6, 6], [1, 1], 2))
    }

    #[test]
    fn diagonals_without_edges_repeat_over_the_planes() {
        let (linear, from, to) = example();
        let lowering = Lowering::new(&linear, &from, &to, false);
        let diagonals = lowering.diagonals(0);
        assert_eq!(lowering.longest(0), 2);
        assert_eq!(diagonals.len(), 9);
        assert!(diagonals.values().all(|values| values.len() == 2), "a weight for each channel");
        assert_eq!(diagonals.keys().copied().collect::<BTreeSet<_>>(), lowering.places());
    }

    #[test]
    fn masked_diagonals_are_zero_where_no_element_is() {
        let (linear, from, to) = example();
        let elements: BTreeSet<usize> = (0..linear.outputs()).map(|i| to.place(i).1).collect();
        let lowering = Lowering::new(&linear, &from, &to, true);
        assert_eq!(lowering.longest(0), 256);
        for values in lowering.diagonals(0).values() {
            assert_eq!(values.len(), 256, "nothing repeats where edges are cut off");
            for (slot, value) in values.iter().enumerate() {
                assert_eq!(*value != 0.0, elements.contains(&slot), "slot {slot}");
            }
        }
    }
}
