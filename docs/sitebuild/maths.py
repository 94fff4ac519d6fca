"""The formulas of docstrings as LaTeX, and LaTeX as MathML, which browsers draw without a script.

A formula is a line of an indented block after `::`. Two spaces or more part its columns. What is written there is
plain Unicode: `θ_t = θ_{t−1} − η_t · m̂_t / (√v̂_t + eps)`.
"""

import re
import unicodedata

from latex2mathml.converter import convert

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega",
    "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Π": "Pi", "Σ": "sum",
    "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
SIGNS = {
    "·": r"\cdot ", "×": r"\times ", "−": "-", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "→": r"\to ",
    "←": r"\leftarrow ", "∞": r"\infty ", "∘": r"\circ ", "⟨": r"\langle ", "⟩": r"\rangle ", "‖": r"\Vert ",
    "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "±": r"\pm ", "∏": r"\prod ", "∈": r"\in ",
    "…": r"\ldots ", "⋯": r"\cdots ", "∝": r"\propto ", "∇": r"\nabla ", "∂": r"\partial ", "½": r"\tfrac12 ",
    "¼": r"\tfrac14 ", "¾": r"\tfrac34 ", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "#": r"\#", "~": r"\sim ",
    "⊙": r"\odot ", "⊤": r"\top ", "∼": r"\sim ", "′": "'",
}  # fmt: skip
ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0305": "bar"}
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ᵢₖₜₙₘⱼₛ", "0123456789+-iktnmjs", strict=True))
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᵗⁿ", "0123456789-+Ttn", strict=True))
FUNCTIONS = {"max", "min", "log", "exp", "cos", "sin", "tanh", "arg", "ln", "argmin", "sign", "mod"}
CLOSING = {"(": ")", "[": "]", "⟨": "⟩", "‖": "‖", "⌊": "⌋", "⌈": "⌉", "|": "|", "{": "}"}

TOKEN = re.compile(
    r"\s+|`[^`]*`|[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z]{2,}[A-Za-z0-9_]*|-[a-z]{2,}|[.][a-z]{2,})*'*|\d+(?:\.\d+)?(?:e[-−]?\d+)?|\.\d+|.",
    re.DOTALL,
)


class Reader:
    """A formula, read from left to right into LaTeX."""

    def __init__(self, text: str):
        self.tokens = TOKEN.findall(unicodedata.normalize("NFD", text))
        self.place = 0

    def peek(self, ahead: int = 0) -> str:
        """The next token, or one after it."""
        return self.tokens[self.place + ahead] if self.place + ahead < len(self.tokens) else ""

    def take(self) -> str:
        """The next token, which is used up."""
        self.place += 1
        return self.tokens[self.place - 1]

    def until(self, end: str) -> str:
        """All up to `end`, which is used up if it is there."""
        parts: list[str] = []
        while self.place < len(self.tokens) and self.peek() != end:
            if self.peek() == "/" and parts:
                self._fraction(parts)
            else:
                parts.append(self.factor())
        if self.peek() == end and end:
            self.take()
        return "".join(parts)

    def _fraction(self, parts: list[str]) -> None:
        """The last factor over the next one."""
        self.take()
        while parts and not parts[-1].strip("~ "):
            parts.pop()
        self.spaces()
        if not parts or self.place >= len(self.tokens):
            parts.append("/")
            return
        above, below = parts.pop(), self.factor()
        if below in (_symbol("Σ"), _symbol("∏")):
            self.spaces()
            below += self.factor()
        parts.append(rf"\frac{{{_bare(above)}}}{{{_bare(below)}}}")

    def spaces(self) -> str:
        """Spaces, used up."""
        return self.take() if self.peek().isspace() else ""

    def factor(self) -> str:
        """One factor with its accents, indices and powers; a space or an operator alone."""
        token = self.take()
        if token.isspace():
            return "~" if len(token) < 2 and self._between_words() else " "
        if token == "√":
            return self._indices(rf"\sqrt{{{_bare(self.factor())}}}")
        if token in CLOSING and CLOSING[token] in self.tokens[self.place :]:
            inner = self.until(CLOSING[token])
            return self._indices(rf"\left{_sign(token)}{inner}\right{_sign(CLOSING[token])}")
        if _is_word(token):
            while self.peek() == " " and _is_word(self.peek(1)):
                self.take()
                token += " " + self.take()
        base = self._indices(_symbol(token))
        if self.peek() == "(" and (len(token) > 1 or token.isalpha()):  # a function and what it is of
            return base + self.factor()
        return base

    def _between_words(self) -> bool:
        before = self.tokens[self.place - 2] if self.place > 1 else ""
        return _is_word(before) or _is_word(self.peek())

    def _indices(self, base: str) -> str:
        """The accents, subscripts and superscripts that follow."""
        while True:
            token = self.peek()
            if token in ACCENTS:
                self.take()
                base = rf"\{ACCENTS[token]}{{{base}}}"
            elif token == "_" and self.place + 1 < len(self.tokens):
                self.take()
                base += f"_{{{self._index()}}}"
            elif token == "^" and self.place + 1 < len(self.tokens):
                self.take()
                base += f"^{{{_bare(self._index())}}}"
            elif token in SUBSCRIPTS:
                base += f"_{{{self._run(SUBSCRIPTS)}}}"
            elif token in SUPERSCRIPTS:
                base += f"^{{{self._run(SUPERSCRIPTS)}}}"
            else:
                return base

    def _run(self, table: dict[str, str]) -> str:
        letters = ""
        while self.peek() in table and self.peek():
            letters += table[self.take()]
        return letters

    def _index(self) -> str:
        if self.peek() == "{":
            self.take()
            return self.until("}")
        sign = _symbol(self.take()) if self.peek() in "−-+" else ""
        if self.peek() == "(":
            return sign + self.factor()
        return sign + _symbol(self.take())


def _is_word(token: str) -> bool:
    return len(token) > 1 and token[0].isalpha() and token[0].isascii() and token not in FUNCTIONS


def _bare(latex: str) -> str:
    r"""Without the outermost brackets \left( … \right), which a root or a fraction replaces."""
    if latex.startswith(r"\left(") and latex.endswith(r"\right)"):
        depth = 0
        for match in re.finditer(r"\\left|\\right", latex):
            depth += 1 if match[0] == r"\left" else -1
            if not depth:
                return latex[6:-7] if match.end() == len(latex) - 1 else latex
    return latex


def _sign(token: str) -> str:
    return SIGNS.get(token, token)


def _symbol(token: str) -> str:
    if token in GREEK:
        return rf"\{GREEK[token]} "
    if token in SIGNS:
        return SIGNS[token]
    if token in FUNCTIONS:
        return rf"\operatorname{{{token}}}"
    if token.startswith("`"):
        return rf"\texttt{{{_escaped(token.strip('`'))}}}"
    if len(token) > 1 and token[0].isalpha():
        return rf"\text{{{_escaped(token)}}}"
    return token


def _escaped(text: str) -> str:
    return text.replace("#", r"\#").replace("%", r"\%")


def latex(line: str) -> list[str]:
    """The columns of a line, each as LaTeX."""
    return [Reader(column).until("").strip() for column in re.split(r"\s{2,}", line.strip()) if column]


def block(lines: list[str]) -> str:
    """A block of formulas as one MathML table, a row a line, aligned at their columns."""
    rows = [latex(line) for line in lines if line.strip()]
    width = max(map(len, rows))
    body = r" \\ ".join(" & ".join([*row, *["{}"] * (width - len(row))]) for row in rows)
    source = rf"\begin{{array}}{{{'l' * width}}} {body} \end{{array}}"
    return convert(source, display="block")
