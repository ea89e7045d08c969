"""Tables, plots, one self-contained HTML page, leaderboard sheet."""

from graphlab.report.leaderboard import Sheet as Sheet
from graphlab.report.leaderboard import ogb as ogb
from graphlab.report.page import html as html
from graphlab.report.page import load as load
from graphlab.report.page import markdown as markdown
from graphlab.report.record import RunRecord as RunRecord
from graphlab.report.record import Score as Score
from graphlab.report.record import read as read
from graphlab.report.tables import Table as Table
