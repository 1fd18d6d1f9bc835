// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Fleece.Hosting.Auditing;

/// <summary>The audit trail of a host: who asked for what, and how it ended, a JSON object a line (docs/host.md).</summary>
/// <remarks>
/// <para>A thread of its own writes the entries in their order, so that storage which is full, slow or does not answer holds up no request.
/// An entry that finds the queue full, or can't be written, is left out and counted. The host's log says once that this begins, and how
/// many entries are missing when the trail is written again; the trail has the number at that place too.</para>
/// <para>An entry that is written outlives the process; it is not made durable.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class AuditTrail : IAsyncDisposable
{
    /// <summary>The file's name in the state directory.</summary>
    public const string FileName = "audit.jsonl";

    /// <summary>Longest file in bytes, but for the entry that passes it.</summary>
    public const long MaximumFileBytes = 16 * 1024 * 1024;

    /// <summary>Most files with numbers.</summary>
    public const int KeptFiles = AuditFile.KeptFiles;

    /// <summary>Most entries that wait to be written.</summary>
    public const int MaximumWaitingEntries = 10_000;

    // An entry may repeat what a client sent, which the protocol allows to be long.
    private const int MaximumWaitingBytes = 16 * 1024 * 1024;

    private readonly Lock _lock = new();
    private readonly Queue<Waiting> _waiting = new();
    private readonly AutoResetEvent _changed = new(initialState: false);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly AuditFile _file;
    private readonly int _maximumWaiting;
    private readonly Action<string> _say;
    private readonly AuditJournal? _journal;
    private long _waitingBytes;
    private long _lostCount;
    private bool _isBehind;
    private bool _isClosed;

    // Of the thread that writes.
    private long _missingCount;
    private bool _isFailing;

    /// <summary>Takes a folder; the file is made with its first entry.</summary>
    /// <param name="folder">The state directory.</param>
    /// <param name="say">Writes a line into the host's log.</param>
    /// <param name="journal">The system's journal, which gets each entry too; null for none.</param>
    /// <param name="maximumFileBytes">See <see cref="MaximumFileBytes"/>; tests take less.</param>
    /// <param name="maximumWaitingEntries">See <see cref="MaximumWaitingEntries"/>; tests take less.</param>
    public AuditTrail(
        string folder,
        Action<string> say,
        AuditJournal? journal = null,
        long maximumFileBytes = MaximumFileBytes,
        int maximumWaitingEntries = MaximumWaitingEntries)
    {
        _file = new AuditFile(Path.Combine(folder, FileName), maximumFileBytes);
        _say = say;
        _journal = journal;
        _maximumWaiting = maximumWaitingEntries;
        Thread thread = new(() =>
        {
            Run();
            _ended.SetResult();
        })
        {
            IsBackground = true,
            Name = "Fleece audit trail",
        };
        thread.Start();
    }

    /// <summary>How long the last entries may take when the host ends.</summary>
    public TimeSpan EndTime { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How many entries are left out at the place where the next one will be.</summary>
    internal long MissingCount => Volatile.Read(ref _missingCount);

    /// <summary>Queues an entry; never waits for storage.</summary>
    public void Add(AuditEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        _journal?.Send(entry);
        byte[] line = LineOf(entry);
        bool beginsToLose;
        lock (_lock)
        {
            if (_isClosed)
            {
                return;
            }

            bool isFull = _waiting.Count >= _maximumWaiting || _waitingBytes + line.Length > MaximumWaitingBytes;
            beginsToLose = isFull && !_isBehind;
            if (isFull)
            {
                _isBehind = true;
                _lostCount++;
            }
            else
            {
                _waiting.Enqueue(new Waiting(line, _lostCount));
                _waitingBytes += line.Length;
                _lostCount = 0;
            }

            _changed.Set();
        }

        if (beginsToLose)
        {
            _say($"the audit trail '{_file.Path}' is not written as fast as entries come, or its storage does not answer; entries are " +
                "left out, and requests go on");
        }
    }

    /// <summary>Writes what is queued, for <see cref="EndTime"/> at most, and closes the file; later entries are dropped. Idempotent.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        lock (_lock)
        {
            if (_isClosed)
            {
                return;
            }

            _isClosed = true;
            _changed.Set();
        }

        await Task.WhenAny(_ended.Task, Task.Delay(EndTime)).ConfigureAwait(false);
        _journal?.Dispose();
        if (_ended.Task.IsCompleted)
        {
            return;
        }

        long leftCount;
        lock (_lock)
        {
            // That of the write which goes on too, for all that is known.
            leftCount = _waiting.Count + _lostCount + 1;
            _waiting.Clear();
            _lostCount = 0;
        }

        SayLacks("could not be written to its end", leftCount);
    }

    private void SayLacks(string what, long count) =>
        _say(string.Create(CultureInfo.InvariantCulture, $"the audit trail '{_file.Path}' {what}; entries that it lacks: {count}"));

    private void Run()
    {
        using AutoResetEvent closing = _changed;
        using AuditFile file = _file;
        while (TryTake(out Waiting next))
        {
            Write(next);
        }

        if (_missingCount != 0)
        {
            SayLacks("could not be written to its end", _missingCount);
        }
    }

    // Waits for an entry, or for the number of those that found the queue full. False at the end.
    private bool TryTake(out Waiting next)
    {
        while (true)
        {
            lock (_lock)
            {
                if (_waiting.TryDequeue(out next))
                {
                    _waitingBytes -= next.Line.Length;
                    return true;
                }

                _isBehind = false;
                if (_lostCount != 0)
                {
                    next = new Waiting([], _lostCount);
                    _lostCount = 0;
                    return true;
                }

                if (_isClosed)
                {
                    return false;
                }
            }

            _changed.WaitOne();
        }
    }

    private void Write(Waiting next)
    {
        _missingCount += next.LostBefore;
        try
        {
            // In one piece: where there is room for the number alone, the trail would consist of numbers.
            _file.Append(_missingCount == 0 ? next.Line : [.. LineOf(Gap(_missingCount)), .. next.Line]);
            if (_missingCount != 0)
            {
                SayLacks("is written again", _missingCount);
            }

            _missingCount = 0;
            _isFailing = false;
        }
#pragma warning disable CA1031 // The end of this thread would be that of the host.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _missingCount += next.Line.Length == 0 ? 0 : 1;
            if (!_isFailing)
            {
                _isFailing = true;
                _say($"the audit trail '{_file.Path}' can't be written, and requests go on without: {e.Message}");
            }
        }
    }

    private static AuditEntry Gap(long count) => AuditEntry.OfHost(
        new AuditedAction(
            "audit.lost",
            string.Create(CultureInfo.InvariantCulture, $"entries that could not be written here: {count}")),
        AuditOutcome.Failed);

    private static byte[] LineOf(AuditEntry entry) => [.. entry.ToJson(), (byte)'\n'];

    /// <summary>An entry on its way.</summary>
    /// <param name="Line">With its line end; empty for none.</param>
    /// <param name="LostBefore">How many before it found the queue full.</param>
    private readonly record struct Waiting(byte[] Line, long LostBefore);
}
