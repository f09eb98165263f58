//! The shape of a dispatch: how the words of a limb are divided among threads and workgroups.

/// How one limb of one row is divided: the first dimension of a dispatch. Limbs are the second, rows the third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grid {
    /// A thread for each word.
    Word,
    /// A thread for each four neighbouring words, which it reads and writes as vectors.
    Word4,
    /// [`Word4`](Self::Word4) of this many rows, which share some of what they read.
    Word4Rows(u32),
    /// A thread for each column of sixteen words that lie `n / 16` apart, which it has in registers.
    Column16,
    /// A workgroup for each 1024 neighbouring words, which come from one stream of random words, sixteen to a thread at a time.
    Stream,
    /// A workgroup for each sixteen neighbouring columns of sixteen words, with four threads for each column and shared memory for this
    /// many limbs.
    Columns(u32),
    /// A workgroup for each block of neighbouring words, in the memory that its threads share; for short blocks of several rows.
    Block(Block),
}

/// A block of a limb that a workgroup transforms in its shared memory, sixteen words to a thread: the pipeline constants of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Logarithm of the number of words, 4 or more.
    pub log_words: u32,
    /// Stages of the first pass, 1 to 4 (0 only if there are no stages at all); every other pass has four.
    pub first_stages: u32,
    /// Stages in all: `log_words`, or fewer if the block holds copies of something shorter.
    pub stages: u32,
}

/// Logarithm of the words that a thread of a transform has in registers.
const LOG_THREAD_WORDS: u32 = 4;

/// Threads of the smallest workgroup.
pub const MIN_THREADS: u32 = 64;

impl Grid {
    /// Threads of a workgroup.
    pub const fn threads(self) -> u32 {
        match self {
            Self::Word => 256,
            Self::Word4 | Self::Word4Rows(_) => 128,
            Self::Column16 | Self::Columns(_) | Self::Stream => 64,
            Self::Block(block) => block.threads(),
        }
    }

    /// Words of a limb that a thread computes at a time.
    pub const fn thread_words(self) -> u32 {
        match self {
            Self::Word => 1,
            Self::Word4 | Self::Word4Rows(_) => 4,
            Self::Column16 | Self::Columns(_) | Self::Stream | Self::Block(_) => 1 << LOG_THREAD_WORDS,
        }
    }

    /// Rows of a workgroup: those that share what they read, and several where the block of a row is too short for a workgroup of [`MIN_THREADS`].
    pub const fn rows(self) -> u32 {
        match self {
            Self::Block(block) => block.threads() >> (block.log_words - LOG_THREAD_WORDS),
            Self::Word4Rows(rows) => rows,
            _ => 1,
        }
    }

    /// Workgroups for one limb of `2^log_n` words.
    pub const fn workgroups(self, log_n: u32) -> u32 {
        let words = 1u32 << log_n;
        match self {
            Self::Word | Self::Word4 | Self::Word4Rows(_) | Self::Column16 | Self::Stream => {
                words.div_ceil(self.thread_words()).div_ceil(self.threads())
            }
            Self::Columns(_) => words >> (2 * LOG_THREAD_WORDS),
            Self::Block(block) => words >> block.log_words,
        }
    }

    /// Pipeline constants of a kernel of this shape: values of the WGSL `override` declarations, by name.
    pub fn constants(self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Word | Self::Word4 | Self::Word4Rows(_) | Self::Column16 | Self::Stream => Vec::new(),
            Self::Columns(limbs) => vec![("COEFFICIENTS", (limbs << (2 * LOG_THREAD_WORDS)).into())],
            Self::Block(block) => vec![
                ("LOG_BLOCK", block.log_words.into()),
                ("FIRST", block.first_stages.into()),
                ("STAGES", block.stages.into()),
                ("ROWS", self.rows().into()),
                ("WORDS", (block.threads() << LOG_THREAD_WORDS).into()),
                ("THREADS", block.threads().into()),
            ],
        }
    }
}

impl Block {
    /// A block of `2^log_words` words that is transformed in full; `log_words` is 4 or more.
    pub const fn whole(log_words: u32) -> Self {
        Self { log_words, first_stages: (log_words - 1) % 4 + 1, stages: log_words }
    }

    /// One thread's sixteen words, which hold `2^log_copies` copies of `2^(4 - log_copies)` words: the first stages alone transform
    /// them. `log_copies` is at most 4.
    pub const fn copies(log_copies: u32) -> Self {
        let stages = LOG_THREAD_WORDS - log_copies;
        Self { log_words: LOG_THREAD_WORDS, first_stages: stages, stages }
    }

    const fn threads(self) -> u32 {
        let threads = 1 << (self.log_words - LOG_THREAD_WORDS);
        if threads < MIN_THREADS { MIN_THREADS } else { threads }
    }
}
