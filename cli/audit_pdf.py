"""The audit's page as PDF: A4, the same figures as on the terminal, the same bytes for the same figures."""

import datetime
from typing import Final

from cli.audit_report import Report, lines_of, subtitle_of, title_of
from cli.statement_pdf import GREY, LEFT, PALE, WIDTH, Page, letters

_VALUE: Final = 78.0
_ROW: Final = 6.4
_BAND: Final = (46, 94, 139)


def pdf_of(report: Report) -> bytes:
    """The file's bytes."""
    page = Page(format="A4")
    page.set_auto_page_break(False)
    page.set_margin(0)
    page.c_margin = 0
    page.set_lang("en")
    page.set_title(letters(f"Audit, {title_of(report)}"))
    page.set_creation_date(datetime.datetime.fromtimestamp(report.end, datetime.UTC))
    page.add_page()
    page.box(0, 0, 210, 3, _BAND)
    page.ink(22, bold=True)
    page.put(LEFT, 15, "Audit")
    page.ink(10, GREY)
    page.put(LEFT, 26, title_of(report))
    page.put(LEFT, 26, subtitle_of(report), align="R")
    y = 36.0
    for heading, rows in lines_of(report):
        page.box(LEFT, y, WIDTH, 7.4, PALE)
        page.ink(11, bold=True)
        page.put(LEFT + 2, y + 1.4, heading)
        y += 9.6
        for what, value in rows:
            page.ink(9.5, GREY)
            page.put(LEFT + 2, y, what, width=_VALUE - LEFT - 4)
            page.ink(9.5)
            page.put(_VALUE, y, value, width=LEFT + WIDTH - _VALUE)
            y += _ROW
        y += 3.2
    page.ink(8, GREY)
    page.put(
        LEFT, 284, "Every figure is worked out from answers that the members' certificates prove from the genesis on."
    )
    return bytes(page.output())
