//! What one evaluation may spend: steps, which bound its time, and cells, which bound its memory.

use super::{error::Error, limits};

/// The budget of one evaluation. Everything whose cost grows with its operands is charged here before or while it
/// is done; sharing makes values that are far larger than what was charged for making them.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    steps: u64,
    cells: u64,
}

impl Budget {
    /// Charges steps.
    ///
    /// # Errors
    /// When they are used up.
    pub(crate) fn spend(&mut self, steps: u64) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > limits::STEPS {
            return Err(
                Error::limit("step budget exceeded").hint("the condition does too much work for one verdict")
            );
        }
        Ok(())
    }

    /// Charges elements of lists and maps. The reference's budget, and its message.
    ///
    /// # Errors
    /// When the cells or the steps are used up.
    pub(crate) fn grow(&mut self, cells: usize) -> Result<(), Error> {
        self.cells = self.cells.saturating_add(cells as u64);
        if self.cells >= limits::MEMORY_CELLS {
            return Err(Error::limit("memory budget exceeded"));
        }
        self.spend(cells as u64)
    }

    /// Charges the work and the room of a text of this many bytes.
    ///
    /// # Errors
    /// When the cells or the steps are used up.
    pub(crate) fn grow_text(&mut self, bytes: usize) -> Result<(), Error> {
        self.grow(usize::try_from(bytes as u64 / limits::BYTES_A_CELL).unwrap_or(usize::MAX))
    }

    /// Charges a walk over a text of this many bytes.
    ///
    /// # Errors
    /// When the steps are used up.
    pub(crate) fn read_text(&mut self, bytes: usize) -> Result<(), Error> {
        self.spend(bytes as u64 / limits::BYTES_A_STEP)
    }
}
