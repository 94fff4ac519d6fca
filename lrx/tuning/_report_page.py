"""The page of a report, to be filled in."""

from string import Template

from ..charts import HEAD

PAGE = Template(
    HEAD
    + """\
<header>lrx.tune: $problem</header>
<h1>$choice</h1>
<p>$comparison</p>
<p>$evidence</p>
<pre>$code</pre>
<p class="note">$saved</p>
<h2>What was tried</h2>
<div class="wide">$table</div>
<p class="note">$notes</p>
<h2>Pictures</h2>
$figures
<h2>How it was measured</h2>
<dl>
$measured
</dl>
</body>
</html>
"""
)
