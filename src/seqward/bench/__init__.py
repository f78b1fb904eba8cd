"""Studies: methods x data sets x seeds x settings by one command, and what they say together.

A study is read (``study``), its data are made (``recipes``), its runs are carried out side by side (``runner``), each
with what happened at every event (``events``); what is finished is recognised again (``results``). All of it is then
compared (``compare``), put into tables (``tables``), curves (``curves``) and a verdict, and drawn as one page.
"""
