// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Internal;

namespace Fleece.Shell;

/// <summary>
/// Standard output and standard error with the progress line kept out of their way. Standard output carries what the
/// script outputs and nothing else, so that it can be piped; messages and progress go to standard error.
/// </summary>
/// <remarks>Threading: every member may be called from any thread; runspaces of a script share the screen.</remarks>
internal sealed class Screen
{
    // Windows needs a console mode switched on for escape sequences, so they are for the other systems only.
    private static readonly bool EscapesWork = !OperatingSystem.IsWindows()
        && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb")
        && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));

    private readonly Lock _gate = new();
    private readonly ProgressLine _progress;
    private bool _atLineStart = true;

    public Screen()
    {
        _progress = new ProgressLine(Console.Error, Console.IsErrorRedirected, () => Width(Console.IsErrorRedirected));
    }

    /// <summary>Whether text on standard output may carry escape sequences.</summary>
    public static bool OutputTakesEscapes => EscapesWork && !Console.IsOutputRedirected;

    /// <summary>Columns of standard output; a fixed number when it is no terminal, so that logs do not vary.</summary>
    public static int OutputWidth => Width(Console.IsOutputRedirected);

    /// <summary>Writes output.</summary>
    public void WriteOutput(string text, bool endLine)
    {
        lock (_gate)
        {
            _progress.Erase();
            Write(Console.Out, OutputTakesEscapes, text, endLine);
        }
    }

    /// <summary>Writes a message, in a style where the terminal has any.</summary>
    public void WriteMessage(string text, string style = "")
    {
        bool escapes = EscapesWork && !Console.IsErrorRedirected;
        string styled = escapes && style.Length > 0 ? style + text + PSStyle.Instance.Reset : text;
        lock (_gate)
        {
            _progress.Erase();
            Write(Console.Error, escapes, styled, endLine: true);
        }
    }

    /// <summary>Shows or takes away progress.</summary>
    public void ShowProgress(ProgressRecord record)
    {
        lock (_gate)
        {
            // In the middle of a line that a script or a prompt has begun there is no room for another.
            if (_atLineStart)
            {
                _progress.Show(record);
            }
        }
    }

    /// <summary>Leaves the terminal's line empty.</summary>
    public void EraseProgress()
    {
        lock (_gate)
        {
            _progress.Erase();
        }
    }

    private static int Width(bool redirected)
    {
        const int unknown = 120;
        if (redirected)
        {
            return unknown;
        }

        int width = Console.WindowWidth;
        return width > 0 ? width : unknown;
    }

    private void Write(TextWriter writer, bool escapes, string text, bool endLine)
    {
        string shown = escapes ? text : new StringDecorated(text).ToString(OutputRendering.PlainText);
        if (endLine)
        {
            writer.WriteLine(shown);
        }
        else
        {
            writer.Write(shown);
        }

        _atLineStart = endLine || (shown.Length == 0 ? _atLineStart : shown.EndsWith('\n'));
    }
}
