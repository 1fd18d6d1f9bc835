// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Threading.Channels;
using Fleece.Block;

namespace Fleece.Hosting.Logging;

/// <summary>What the host tells of itself and of its clients: a line each on standard error, which systemd puts into the journal.</summary>
/// <remarks>
/// <para>A reader of standard error that has stopped reading holds up no request: lines that find the queue full are left out, and a line
/// says how many once there is room.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class HostLog : IAsyncDisposable
{
    private const int MaximumWaitingLines = 4096;

    // A message may repeat a client's text, which the protocol allows to be long.
    private const int MaximumLineCharacters = 2000;

    // How long the last lines may take when the reader has stopped.
    private static readonly TimeSpan EndTime = TimeSpan.FromSeconds(1);

    private readonly Channel<string> _lines = Channel.CreateBounded<string>(MaximumWaitingLines);
    private readonly TextWriter _writer;
    private readonly Task _writing;
    private int _leftOut;

    public HostLog(TextWriter writer)
    {
        _writer = writer;
        _writing = WriteAsync();
    }

    /// <summary>Queues a line. Characters that a terminal would obey are written as their numbers.</summary>
    public void Say(string text)
    {
        string line = PrintableText.Of(text);
        if (line.Length > MaximumLineCharacters)
        {
            line = line[..MaximumLineCharacters] + "...";
        }

        if (!_lines.Writer.TryWrite("fleece: " + line))
        {
            Interlocked.Increment(ref _leftOut);
        }
    }

    /// <summary>Writes what is queued, for a second at most. Lines that come later are left out.</summary>
    public async ValueTask DisposeAsync()
    {
        _lines.Writer.TryComplete();
        await Task.WhenAny(_writing, Task.Delay(EndTime)).ConfigureAwait(false);
    }

    private async Task WriteAsync()
    {
        // Standard error is written to without waiting for others only from a thread that may wait.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        await foreach (string line in _lines.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            try
            {
                await _writer.WriteLineAsync(line).ConfigureAwait(false);
                if (Interlocked.Exchange(ref _leftOut, 0) is > 0 and var count)
                {
                    string gap = string.Create(
                        CultureInfo.InvariantCulture, $"fleece: {count} lines are left out here, because they came too fast");
                    await _writer.WriteLineAsync(gap).ConfigureAwait(false);
                }
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // The reader has gone. The host serves on without it.
            }
        }
    }
}
