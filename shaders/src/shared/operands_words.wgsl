// Operands word by word.
alias Operand = u32;
alias XOperand = u32;
