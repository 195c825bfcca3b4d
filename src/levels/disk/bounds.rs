//! The size limits of a tenant's file and its journal, which together never exceed the configured size.

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;
/// A page in the journal has a head of its own.
const FRAME: u64 = PAGE + 24;
/// The journal's share of a file's size, and at least so much.
const JOURNAL_PART: u64 = 16;
const LEAST_JOURNAL: u64 = 2 << 20;
/// Pages that writing one entry changes beside its own: leaves and inner pages of the table and its two indices.
const TREE_PAGES: u64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileBounds {
    /// Bytes of the journal.
    journal: u64,
    /// Pages of the file itself.
    pub(super) pages: u64,
}

impl FileBounds {
    /// Of a file of `max_bytes`, which are at least 8 MiB.
    pub(super) fn of(max_bytes: u64) -> Self {
        let journal = (max_bytes / JOURNAL_PART).max(LEAST_JOURNAL);
        Self { journal, pages: max_bytes.saturating_sub(journal) / PAGE }
    }

    /// Pages that the entries of one transaction may take. It may have to remove as many, and removed entries are
    /// overwritten, which takes space in the journal, too.
    pub(super) const fn batch_pages(&self) -> u64 {
        self.journal / FRAME / 4
    }

    /// How many of these entries, by their sizes and from the first on, fit one transaction: at least one.
    pub(super) fn batch(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let mut pages = 0;
        let fits = sizes.take_while(|bytes| {
            pages += pages_of(*bytes);
            pages <= self.batch_pages()
        });
        fits.count().max(1)
    }

    /// The largest entry that is stored.
    pub(super) const fn largest_entry(&self) -> u64 {
        self.batch_pages() / 2 * PAGE
    }

    /// Whether the journal is larger than it may be.
    pub(super) const fn is_exceeded(&self, journal: u64) -> bool {
        journal > self.journal
    }

    /// Whether the journal must be emptied before the next transaction.
    pub(super) const fn is_full(&self, journal: u64) -> bool {
        journal > self.journal / 4
    }
}

/// The most pages that an entry of this size takes.
pub(super) const fn pages_of(bytes: usize) -> u64 {
    bytes as u64 / PAGE + 1 + TREE_PAGES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_the_journal_of_the_largest_transaction_fit() {
        for max_bytes in [8 << 20, 10 << 20, 256 << 20, 1 << 30, 1 << 40] {
            let bounds = FileBounds::of(max_bytes);
            // One that adds a batch and removes as much, and an entry and its pages of the trees more than that.
            let largest = pages_of(usize::try_from(bounds.largest_entry()).unwrap());
            let transaction = 2 * bounds.batch_pages() + largest;
            assert!(transaction * FRAME + bounds.journal / 4 <= bounds.journal, "{max_bytes}");
            assert!(bounds.pages * PAGE + bounds.journal <= max_bytes);
            assert!(bounds.largest_entry() >= 200 << 10);
        }
        assert!(
            FileBounds::of(256 << 20).largest_entry() > (1 << 20) + (64 << 10),
            "one of the largest calls"
        );
    }
}
