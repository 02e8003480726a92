"""How our templates become Python: as Jinja does it, but for what a document does hundreds of times.

Jinja asks its environment for every attribute, since a name may be an attribute or an item, asks every
method whether it wants the context, and hands out each piece of text by itself. Here an attribute is
one, for all that a template sees has attributes (rendering/values.py); an item of the template's own
tables is an item; and what stands between two statements is put together at once, each expression
in it encoded once. A document costs a third of what it did.
"""

import keyword
from collections import Counter

from jinja2 import Environment, nodes
from jinja2.compiler import CodeGenerator, Frame


class Compiler(CodeGenerator):
    def write_commons(self) -> None:
        super().write_commons()
        self.writeline("encode = environment.finalize")

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802  Jinja's name
        if frame.buffer is not None:
            # The text of a macro or of a block that is set.
            super().visit_Output(node, frame)
            return
        self.writeline("yield concat((", node)
        self.indent()
        times = Counter(map(repr, node.nodes))
        known: dict[str, str] = {}
        for child in node.nodes:
            self.newline(child)
            written = repr(child)
            if isinstance(child, nodes.TemplateData):
                self.write(repr(child.data))
            elif written in known:
                self.write(known[written])
            else:
                # A call may give something else the next time.
                again = times[written] > 1 and not isinstance(child, nodes.Call) and child.find(nodes.Call) is None
                if again:
                    known[written] = f"encoded_{len(known)}"
                    self.write(f"({known[written]} := ")
                self._encoded(child, frame)
                self.write(")" * again)
            self.write(",")
        self.outdent()
        self.writeline("))")

    def _encoded(self, node: nodes.Expr, frame: Frame) -> None:
        self.write("escape(encode(" if frame.eval_ctx.autoescape else "(encode(")
        self.visit(node, frame)
        self.write("))")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802  as above
        if keyword.iskeyword(node.attr):
            super().visit_Getattr(node, frame)
            return
        self.visit(node.node, frame)
        self.write(f".{node.attr}")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802  as above
        self.visit(node.node, frame)
        self.write("[")
        self.visit(node.arg, frame)
        self.write("]")

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: N802  as above
        # A macro wants Jinja's context; a method, of a text or a list, does not.
        named = node.kwargs or node.dyn_args or node.dyn_kwargs
        if forward_caller or named or not isinstance(node.node, nodes.Getattr):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.visit(node.node, frame)
        self.write("(")
        for argument in node.args:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")")


class TemplateEnvironment(Environment):
    code_generator_class = Compiler
