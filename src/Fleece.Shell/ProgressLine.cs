// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Management.Automation;
using System.Text;

namespace Fleece.Shell;

/// <summary>
/// The latest progress record on one line. On a terminal the line is rewritten in place a few times a second; in a log
/// it is a line now and then, and none at all for work that ends before the first is due.
/// </summary>
/// <remarks>Threading: the owner serialises all calls.</remarks>
internal sealed class ProgressLine(TextWriter writer, bool isLog, Func<int> width)
{
    private static readonly TimeSpan TerminalPeriod = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan LogPeriod = TimeSpan.FromSeconds(15);

    private long _lastShown = isLog ? Stopwatch.GetTimestamp() : 0;
    private int _shownLength;
    private int _activityId;

    /// <summary>Shows a record unless the previous one is too recent; a completed record takes its line away.</summary>
    public void Show(ProgressRecord record)
    {
        if (record.RecordType == ProgressRecordType.Completed)
        {
            if (record.ActivityId == _activityId)
            {
                Erase();
            }

            return;
        }

        if (_lastShown != 0 && Stopwatch.GetElapsedTime(_lastShown) < (isLog ? LogPeriod : TerminalPeriod))
        {
            return;
        }

        _lastShown = Stopwatch.GetTimestamp();
        _activityId = record.ActivityId;
        string text = Describe(record);
        if (isLog)
        {
            writer.WriteLine(text);
            return;
        }

        // One column stays free: a character in the last one makes many terminals wrap.
        text = text.Length < width() ? text : text[..Math.Max(0, width() - 1)];
        writer.Write('\r' + text.PadRight(_shownLength));
        _shownLength = text.Length;
    }

    /// <summary>Overwrites the line with spaces, which works on every terminal.</summary>
    public void Erase()
    {
        if (_shownLength > 0)
        {
            writer.Write('\r' + new string(' ', _shownLength) + '\r');
            _shownLength = 0;
        }
    }

    private static string Describe(ProgressRecord record)
    {
        var text = new StringBuilder(record.Activity);
        if (record.PercentComplete >= 0)
        {
            text.Append(CultureInfo.CurrentCulture, $" {record.PercentComplete} %");
        }

        Append(record.StatusDescription);
        Append(record.CurrentOperation);
        if (record.SecondsRemaining >= 0)
        {
            text.Append(CultureInfo.CurrentCulture, $", {TimeSpan.FromSeconds(record.SecondsRemaining):c} left");
        }

        return text.ToString().ReplaceLineEndings(" ");

        void Append(string? part)
        {
            if (!string.IsNullOrWhiteSpace(part))
            {
                text.Append(", ").Append(part);
            }
        }
    }
}
