// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>QEMU's block layer as a guest that writes and flushes without a pause, and connects again for a minute when its server is
/// gone.</summary>
/// <remarks>It writes blocks of 64 KiB, each with another byte, over and over a disk of 64 MiB. Every other write is flushed by a request of
/// its own, unless all are to be flushed with FUA.</remarks>
internal sealed class WritingGuest : IAsyncDisposable
{
    private const int BlockBytes = 64 * 1024;
    private const int Blocks = 1024;

    // What qemu-io says when a command has ended.
    private const string Prompt = "qemu-io> ";

    private readonly Process _process;
    private readonly bool _writesThrough;
    private readonly Task _writing;
    private readonly List<string> _errors = [];
    private int _acknowledged;
    private volatile bool _isEnding;

    private WritingGuest(Process process, bool writesThrough)
    {
        _process = process;
        _writesThrough = writesThrough;
        _writing = WriteAsync();
    }

    /// <summary>Writes that were flushed.</summary>
    public int Acknowledged => Volatile.Read(ref _acknowledged);

    /// <summary>The longest time that a write took.</summary>
    public TimeSpan LongestPause { get; private set; }

    /// <summary>Starts the guest.</summary>
    /// <param name="start">Starts a command.</param>
    /// <param name="socket">The server's socket.</param>
    /// <param name="writesThrough">True to flush each write with FUA, so that no answer can get lost between a write and its flush.</param>
    public static WritingGuest Start(Func<string[], Process> start, string socket, bool writesThrough) => new(
        start([
        "qemu-io", "-t", "writeback", "--image-opts", $"driver=nbd,server.type=unix,server.path={socket},export=web,reconnect-delay=60",
        ]),
        writesThrough);

    /// <summary>Waits until more writes have been flushed.</summary>
    public async Task WriteMoreAsync(int count)
    {
        int goal = Acknowledged + count;
        while (Acknowledged < goal)
        {
            Assert.False(_writing.IsCompleted, $"the guest ended: {string.Join('\n', _errors)}");
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Ends the guest and fails the test if any of its requests failed.</summary>
    public async Task EndAsync()
    {
        _isEnding = true;
        await _writing;
        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{Acknowledged} writes flushed, the slowest within {LongestPause.TotalMilliseconds:0} ms"));
        Assert.Empty(_errors);
        Assert.Equal(0, _process.ExitCode);
    }

    /// <summary>The commands of qemu-io that compare the disk with all that was written, and the number of blocks they read.</summary>
    public (string Commands, int Count) Comparison()
    {
        int first = Math.Max(0, Acknowledged - Blocks);
        IEnumerable<string> reads = Enumerable.Range(first, Acknowledged - first).Select(number => string.Create(
            CultureInfo.InvariantCulture, $"read -P {PatternOf(number)} {OffsetOf(number)} {BlockBytes}\n"));
        return (string.Concat(reads) + "quit\n", Acknowledged - first);
    }

    public async ValueTask DisposeAsync()
    {
        _isEnding = true;
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        await _writing;
        _process.Dispose();
    }

    private static int PatternOf(int number) => (number % 251) + 1;

    private static long OffsetOf(int number) => (long)(number % Blocks) * BlockBytes;

    private async Task WriteAsync()
    {
        try
        {
            bool goesOn = await ReadToPromptAsync();
            for (int number = 0; goesOn && !_isEnding; number++)
            {
                long started = Stopwatch.GetTimestamp();
                string place = string.Create(CultureInfo.InvariantCulture, $"-P {PatternOf(number)} {OffsetOf(number)} {BlockBytes}");
                goesOn = !_writesThrough && number % 2 == 0
                    ? await AskAsync($"write {place}") && await AskAsync("flush")
                    : await AskAsync($"write -f {place}");
                if (goesOn)
                {
                    LongestPause = TimeSpan.FromTicks(Math.Max(LongestPause.Ticks, Stopwatch.GetElapsedTime(started).Ticks));
                    Interlocked.Increment(ref _acknowledged);
                }
            }

            await _process.StandardInput.WriteAsync("quit\n");
            _process.StandardInput.Close();
        }
        catch (IOException e)
        {
            _errors.Add(e.Message);
        }

        _errors.AddRange(await ErrorsOfAsync(_process.StandardError));
    }

    // One command at a time: qemu-io sleeps over those that have arrived together.
    private async Task<bool> AskAsync(string command)
    {
        await _process.StandardInput.WriteAsync(command + "\n");
        await _process.StandardInput.FlushAsync();
        return await ReadToPromptAsync();
    }

    // False when the guest has ended, or a command failed.
    private async Task<bool> ReadToPromptAsync()
    {
        StringBuilder said = new();
        char[] some = new char[256];
        while (!said.ToString().EndsWith(Prompt, StringComparison.Ordinal))
        {
            int count = await _process.StandardOutput.ReadAsync(some);
            if (count == 0)
            {
                return false;
            }

            said.Append(some, 0, count);
        }

        string text = said.ToString();
        bool isGood = !text.Contains("fail", StringComparison.OrdinalIgnoreCase) &&
            !text.Contains("error", StringComparison.OrdinalIgnoreCase) && !text.Contains("no file open", StringComparison.Ordinal);
        if (!isGood)
        {
            _errors.Add(text);
        }

        return isGood;
    }

    private static async Task<string[]> ErrorsOfAsync(StreamReader error) =>
        (await error.ReadToEndAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
