#!/bin/sh
# s6/arid/run in sh, for those who would rather read that: copy it over arid/run.
exec 2>&1
exec snooze -H '*' -M 0 -J 60m arid renew
