// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;

namespace Fleece.Disks.Storage;

/// <summary>The one witness of a disk: it touches the files beside the image that are to be as young as the image.</summary>
/// <remarks>
/// <para>The time of modification of each of these files says until when this process had the image. An image that was changed after that
/// (<see cref="FileEvidence.IsChangedAfter"/>) was changed by another program.</para>
/// <para>An image changes long after a request: a flush first makes the guest's data durable and writes tables then, and a copy may hold up
/// its write. So a heartbeat touches the files once a second, whether or not a request comes, and rests when for ten minutes no change was
/// announced and neither image nor temp changed. The first change behind a rest touches them itself, before it goes on. So it is with the
/// temp images of the sessions, which consumers change without a request of the guest.</para>
/// <para>The time that they get is the present one, or that of the image or of temp where it lies ahead of the clock; there is no rest
/// then. The heartbeat also asks whether the system could store what the image, temp and the logs of sessions have, which it may forget
/// once the process has ended.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
/// <param name="storage">The image. Beside one on an export there is no file.</param>
/// <param name="sessions">The disk's sessions.</param>
/// <param name="touches">Each sets the time of one file, not before the one that it is given, or does nothing where there is no file. It
/// does not throw.</param>
internal sealed class ChangeWitness(DiskStorage storage, Func<IReadOnlyList<IWitnessedSession>> sessions, params Action<long>[] touches)
    : IChangeWitness, IDisposable
{
    private static readonly long RestMilliseconds = (long)TimeSpan.FromMinutes(10).TotalMilliseconds;

    // Two beats: a request has nothing to do while the heart beats.
    private static readonly long DueMilliseconds = 2 * (long)Heartbeat.Interval.TotalMilliseconds;

    private Heartbeat? _heartbeat;
    private long _dueMilliseconds;
    private long _restMilliseconds;
    private long _modifiedTicks;

    /// <summary>Begins to touch the files: what they say of the image was judged, and the image is this process's from here on.</summary>
    public void Begin()
    {
        if (!storage.IsExport)
        {
            Look();
            TouchAll();
            _heartbeat = Heartbeat.Start(Beat);
        }
    }

    /// <inheritdoc/>
    public void BeforeChange()
    {
        if (Environment.TickCount64 >= Volatile.Read(ref _dueMilliseconds))
        {
            TouchAll();
        }
    }

    /// <summary>Touches the files now, because the image is about to change.</summary>
    public void TouchAll()
    {
        Volatile.Write(ref _restMilliseconds, Environment.TickCount64 + RestMilliseconds);
        Touch();
    }

    /// <summary>Touches the files for the last time: behind this the image is another's.</summary>
    public void Dispose()
    {
        _heartbeat?.Dispose();
        storage.EndWatches();
    }

    /// <summary>Asks for losses, and touches the files, once a second, unless it rests.</summary>
    internal void Beat()
    {
        storage.FindLoss();
        foreach (IWitnessedSession session in sessions())
        {
            session.FindLoss();
        }

        long now = Environment.TickCount64;
        if (now >= Volatile.Read(ref _restMilliseconds) && Volatile.Read(ref _modifiedTicks) <= DateTime.UtcNow.Ticks)
        {
            return;
        }

        if (Look())
        {
            Volatile.Write(ref _restMilliseconds, now + RestMilliseconds);
        }

        Touch();
    }

    // True when image or temp has another time than before.
    private bool Look()
    {
        long ticks = ReadModifiedTicks(storage.Path) ?? Volatile.Read(ref _modifiedTicks);
        foreach (IWitnessedSession session in sessions())
        {
            ticks = Math.Max(ticks, session.CanResume ? ReadModifiedTicks(session.TempPath) ?? 0 : 0);
        }

        return Interlocked.Exchange(ref _modifiedTicks, ticks) != ticks;
    }

    // It is due again only behind the last touch, so that no change overtakes the touches of another one.
    private void Touch()
    {
        long now = Environment.TickCount64;
        foreach (Action<long> touch in touches)
        {
            touch(Volatile.Read(ref _modifiedTicks));
        }

        Volatile.Write(ref _dueMilliseconds, now + DueMilliseconds);
    }

    private static long? ReadModifiedTicks(string path)
    {
        try
        {
            return FileEvidence.Read(path).ModifiedTicks;
        }
        catch (BlockException)
        {
            return null;
        }
    }
}
