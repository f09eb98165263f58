//! Where the elements of a tensor lie: in which ciphertext, in which slot.
//!
//! Planes share a grid of positions that stays the same through the whole network. A layer with stride `s` leaves its
//! results `s` positions apart and puts further channels in between (multiplexed packing, Lee et al. 2022). The
//! channels of a ciphertext lie in one of two ways. Innermost, `slot = (y width + x) planes + plane`: the weights of
//! a layer without padding repeat over all positions, and so do its diagonals, which then have a short period. Or
//! outermost, `slot = plane height width + y width + x`: a rotation past the last plane comes back to the first, and
//! few channels repeat until the ciphertext is full, so that dense layers with padding need half as many diagonals,
//! of a shorter period.

use crate::Window;
use serde::{Deserialize, Serialize};

/// Most ciphertexts of one tensor.
pub(crate) const MAX_CIPHERTEXTS: usize = 1 << 12;
/// Most numbers that the diagonals of a plan hold: they take up to 8 bytes each in the plan, and up to 44 while it is compiled.
pub(crate) const MAX_WEIGHTS: usize = 1 << 28;

/// Places of the elements of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layout {
    pub(crate) slots: usize,
    pub(crate) ciphertexts: usize,
    /// Element -> ciphertext * slots + slot.
    pub(crate) places: Vec<u32>,
    pub(crate) copies: Copies,
    /// Whether channels lie side by side at each position.
    pub(crate) inner: bool,
    pub(crate) description: String,
}

/// Where else an element lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Copies {
    /// Nowhere.
    None,
    /// At every `step`-th of the `planes` slots of its position.
    Planes { planes: usize, step: usize },
    /// At multiples of this number of slots.
    Period(usize),
    /// In the next slots, of a run that has one for each item, and in such runs at multiples of `period` slots.
    Runs { run: usize, period: usize },
}

/// The positions that all planes of a network share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) slots: usize,
    /// Powers of two.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Where the channels of a ciphertext lie.
    pub(crate) inner: bool,
}

impl Grid {
    /// Channels at a position of one ciphertext.
    pub(crate) fn planes(&self) -> usize {
        (self.slots / (self.height * self.width)).max(1)
    }

    /// `[channels][height][width]` at every `gap`-th position, channels in the order that puts those of different
    /// groups side by side.
    pub(crate) fn layout(&self, shape: [usize; 3], gap: [usize; 2], groups: usize) -> Layout {
        let [channels, height, width] = shape;
        let planes = self.planes();
        // Places between positions, as far as the grid reaches beyond the last position.
        let room = |size: usize, gap: usize, len: usize| size.saturating_sub((len - 1) * gap).clamp(1, gap);
        let rows = room(self.height, gap[0], height);
        let columns = room(self.width, gap[1], width);
        let subs = rows * columns;
        let depth = (channels / groups.max(1)).max(1);
        // The planes of a first block are filled, then the slots between positions, then further planes.
        let first = if self.inner { planes } else { planes.min(groups.next_power_of_two()) };
        let mut places = Vec::with_capacity(channels * height * width);
        let mut used = first;
        for channel in 0..channels {
            let rank = channel % depth * groups + channel / depth;
            let low = rank % first;
            let sub = rank / first % subs;
            let high = rank / first / subs;
            let plane = high * first + low;
            used = used.max(plane + 1);
            for y in 0..height {
                for x in 0..width {
                    let at = [y * gap[0] + sub / columns, x * gap[1] + sub % columns];
                    places.push(self.flat(at, plane) as u32);
                }
            }
        }
        let gap = if gap[0] == gap[1] { gap[0].to_string() } else { format!("{}x{}", gap[0], gap[1]) };
        let order = if self.inner { "side by side" } else { "one after the other" };
        let description = format!("{} x {} grid, gap {gap}, {planes} {order}", self.height, self.width);
        let period = used.next_power_of_two() * self.height * self.width;
        let copies = if self.inner || period >= self.slots { Copies::None } else { Copies::Period(period) };
        Layout { inner: self.inner, ..Layout::new(self.slots, places, copies, description) }
    }

    /// Every channel in a ciphertext of its own, repeated in all planes.
    pub(crate) fn spread(&self, shape: [usize; 3]) -> Layout {
        let [channels, height, width] = shape;
        let planes = self.planes();
        let mut places = Vec::with_capacity(channels * height * width);
        for channel in 0..channels {
            for y in 0..height {
                for x in 0..width {
                    places.push(self.flat([y, x], channel * planes) as u32);
                }
            }
        }
        let description = format!("{} x {} grid, a channel per ciphertext", self.height, self.width);
        let copies = match planes {
            1 => Copies::None,
            _ if self.inner => Copies::Planes { planes, step: 1 },
            _ => Copies::Period(self.height * self.width),
        };
        Layout { inner: self.inner, ..Layout::new(self.slots, places, copies, description) }
    }

    /// `[channels][height][width]` with few channels, repeated as often as they fit, those of different groups side by side.
    pub(crate) fn repeated(&self, shape: [usize; 3], groups: usize) -> Layout {
        let planes = self.planes();
        let step = shape[0].next_power_of_two();
        let mut layout = self.layout(shape, [1, 1], groups);
        if self.inner && step < planes {
            layout.copies = Copies::Planes { planes, step };
            layout.description.push_str(", repeated");
        }
        layout
    }

    /// Ciphertext times slots, plus slot, of a position in a plane, planes being counted through all ciphertexts.
    fn flat(&self, [y, x]: [usize; 2], plane: usize) -> usize {
        let planes = self.planes();
        let position = y * self.width + x;
        let size = self.height * self.width;
        if self.inner {
            (plane / planes * size + position) * planes + plane % planes
        } else {
            plane * size + position
        }
    }
}

impl Layout {
    fn new(slots: usize, places: Vec<u32>, copies: Copies, description: String) -> Self {
        let ciphertexts = places.iter().map(|&p| p as usize / slots + 1).max().unwrap_or(1);
        Self { slots, ciphertexts, places, copies, inner: false, description }
    }

    /// A vector that repeats as often as it fits.
    pub(crate) fn vector(slots: usize, len: usize) -> Self {
        let period = len.next_power_of_two();
        let places = (0..len as u32).collect();
        if period >= slots {
            return Self::new(slots, places, Copies::None, "a vector".into());
        }
        Self::new(slots, places, Copies::Period(period), format!("a vector, every {period} slots"))
    }

    /// A ciphertext for each element, which is in every slot.
    pub(crate) fn each(slots: usize, len: usize) -> Self {
        let places = (0..len).map(|i| (i * slots) as u32).collect();
        Self::new(slots, places, Copies::Period(1), "a ciphertext per element".into())
    }

    /// Planes of `size`, each in a ciphertext of its own, with neighbours `gap` positions apart on a grid of `columns`.
    pub(crate) fn channels(
        slots: usize,
        columns: usize,
        len: usize,
        [height, width]: [usize; 2],
        gap: [usize; 2],
    ) -> Self {
        let places = (0..len).map(|i| {
            let channel = i / (height * width);
            let y = i / width % height;
            let x = i % width;
            (channel * slots + y * gap[0] * columns + x * gap[1]) as u32
        });
        let description = format!("{height} x {width} in rows of {columns}, a channel per ciphertext");
        Self::new(slots, places.collect(), Copies::None, description)
    }

    /// A vector, once.
    pub(crate) fn packed(slots: usize, len: usize) -> Self {
        Self::new(slots, (0..len as u32).collect(), Copies::None, "a vector".into())
    }

    /// The layout of `items` items in ciphertexts of `slots` slots, where each slot of this layout is a run of one slot for each
    /// item.
    pub(crate) fn in_runs(&self, items: usize, slots: usize) -> Self {
        let places = self.places.iter().map(|&place| {
            let place = place as usize;
            (place / self.slots * slots + place % self.slots * items) as u32
        });
        let period = if let Copies::Period(period) = self.copies { period * items } else { slots };
        let description = format!("{}, {items} items", self.description);
        Self::new(slots, places.collect(), Copies::Runs { run: items, period }, description)
    }

    /// Every result of a window where the window's first element is.
    #[expect(clippy::indexing_slicing, reason = "windows lie on the planes of this layout")]
    pub(crate) fn pooled(&self, window: &Window) -> Self {
        let [height, width] = window.input();
        let [rows, columns] = window.output();
        let [down, across] = window.stride();
        let places = (0..self.places.len() / (height * width) * rows * columns).map(|i| {
            let channel = i / (rows * columns);
            let y = i / columns % rows;
            let x = i % columns;
            let from = (channel * height + y * down) * width + x * across;
            self.places[from]
        });
        let places = places.collect();
        let description = format!("{}, pooled in place", self.description);
        Self { places, description, ..self.clone() }
    }

    /// How far apart neighbours in a column and in a row of a plane lie, if that is the same throughout.
    pub(crate) fn strides(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let between = |a: Option<&u32>, b: Option<&u32>| Some(b?.checked_sub(*a?)? as usize);
        let first = [
            if height > 1 { between(self.places.first(), self.places.get(width))? } else { 0 },
            if width > 1 { between(self.places.first(), self.places.get(1))? } else { 0 },
        ];
        (0..self.places.len())
            .all(|i| {
                let y = i / width % height;
                let x = i % width;
                let here = self.places.get(i);
                let down = y + 1 == height || between(here, self.places.get(i + width)) == Some(first[0]);
                down && (x + 1 == width || between(here, self.places.get(i + 1)) == Some(first[1]))
            })
            .then_some(first)
    }

    /// Slots after which the elements repeat.
    pub(crate) fn period(&self) -> usize {
        if let Copies::Period(period) = self.copies { period } else { self.slots }
    }

    /// Number of elements.
    pub(crate) fn elements(&self) -> usize {
        self.places.len()
    }

    /// The slots of a ciphertext that hold the first copy of an element.
    pub(crate) fn slots_of(&self, ciphertext: usize) -> impl Iterator<Item = usize> {
        let places = self.places.iter().map(|&place| place as usize);
        places.filter(move |place| place / self.slots == ciphertext).map(|place| place % self.slots)
    }

    /// The slot that holds an element, and the ciphertext.
    #[expect(clippy::indexing_slicing, reason = "there is a place for every element")]
    pub(crate) fn place(&self, element: usize) -> (usize, usize) {
        let place = self.places[element] as usize;
        (place / self.slots, place % self.slots)
    }

    /// How far left the element must be rotated to come to `slot`, from the copy that needs the fewest different
    /// rotations.
    pub(crate) fn step(&self, element: usize, slot: usize) -> (usize, usize) {
        let (ciphertext, place) = self.place(element);
        let place = match self.copies {
            Copies::None | Copies::Runs { .. } => place,
            Copies::Planes { planes, step } => {
                let from = place % planes;
                let to = slot % planes;
                let mut nearest = to + (from + planes - to) % step;
                if nearest >= planes {
                    nearest -= step;
                }
                place - from + nearest
            }
            Copies::Period(period) => return (ciphertext, (place + self.slots - slot) % period),
        };
        (ciphertext, (place + self.slots - slot) % self.slots)
    }

    /// The slots of all ciphertexts with the elements in their places, copies included, zeros elsewhere.
    #[expect(clippy::indexing_slicing, reason = "places lie in the ciphertexts")]
    pub(crate) fn fill(&self, elements: &[f64]) -> Vec<Vec<f64>> {
        let mut slots = vec![vec![0.0; self.slots]; self.ciphertexts];
        for (i, &value) in elements.iter().enumerate() {
            let (ciphertext, slot) = self.place(i);
            for copy in self.copies_of(slot) {
                slots[ciphertext][copy] = value;
            }
        }
        slots
    }

    /// Items in the run of an element.
    pub(crate) fn run(&self) -> usize {
        if let Copies::Runs { run, .. } = self.copies { run } else { 1 }
    }

    /// The slots of all ciphertexts with an item in each slot of a run, zeros elsewhere.
    #[expect(clippy::indexing_slicing, reason = "runs lie in the ciphertexts")]
    pub(crate) fn fill_runs(&self, items: &[&Vec<f64>]) -> Vec<Vec<f64>> {
        let mut slots = vec![vec![0.0; self.slots]; self.ciphertexts];
        for (number, item) in items.iter().enumerate() {
            for (i, &value) in item.iter().enumerate() {
                let (ciphertext, slot) = self.place(i);
                for first in self.runs_of(slot) {
                    slots[ciphertext][first + number] = value;
                }
            }
        }
        slots
    }

    /// The elements of the items of all runs, one item after the other.
    #[expect(clippy::indexing_slicing, reason = "runs lie in the ciphertexts, which the caller has counted")]
    pub(crate) fn read_runs(&self, slots: &[Vec<f64>]) -> Vec<f64> {
        let items = 0..self.run();
        items
            .flat_map(|number| {
                (0..self.elements()).map(move |i| {
                    let (ciphertext, slot) = self.place(i);
                    slots[ciphertext][slot + number]
                })
            })
            .collect()
    }

    /// The first slots of the runs that hold the element whose place is `slot`.
    fn runs_of(&self, slot: usize) -> impl Iterator<Item = usize> + use<> {
        let period = if let Copies::Runs { period, .. } = self.copies { period } else { self.slots };
        (slot..self.slots).step_by(period.max(1))
    }

    /// The slots of a ciphertext that hold the element whose place is `slot`.
    pub(crate) fn copies_of(&self, slot: usize) -> Vec<usize> {
        let (first, step, count) = match self.copies {
            Copies::None => (slot, 1, 1),
            Copies::Planes { planes, step } => {
                (slot / planes * planes + slot % planes % step, step, planes / step)
            }
            Copies::Period(period) => (slot, period, self.slots / period),
            Copies::Runs { run, .. } => {
                return self.runs_of(slot).flat_map(|first| first..first + run).collect();
            }
        };
        (0..count).map(|copy| first + copy * step).collect()
    }

    /// The elements, from the slots of all ciphertexts.
    ///
    /// # Panics
    /// If there are fewer ciphertexts or slots than the layout has.
    #[expect(
        clippy::indexing_slicing,
        reason = "places lie in the ciphertexts, which the caller has counted"
    )]
    pub(crate) fn read(&self, slots: &[Vec<f64>]) -> Vec<f64> {
        let places = self.places.iter().map(|&place| place as usize);
        places.map(|place| slots[place / self.slots][place % self.slots]).collect()
    }
}
