// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;

namespace Fleece.Disks.Resuming;

/// <summary>Replaces a log by maps and a short log.</summary>
/// <remarks>
/// <para>The maps are written without a lock, while copies go on. A reader gets the maps and then the records of the new log, and both
/// together are right:</para>
/// <list type="bullet">
/// <item>Nothing is missing. What was noted before the new log joined is in the live maps when it joins, but for the last note, which is
/// the new log's first record; maps only grow, so the file has it. What is noted afterwards is a record of the new log.</item>
/// <item>Nothing is too much. A granule comes into a live map behind its note, so whatever the file has was noted, in the one log or in
/// both.</item>
/// <item>A note twice, in a map and as a record, is the note once.</item>
/// </list>
/// <para>The log's name means the old file until the rename and the new one from then on. Each has all notes that were acknowledged,
/// because a note goes to both before it is; so a process that is killed at any step leaves a whole log. The maps of the old one go
/// last.</para>
/// <para>Without room, the old log stays as it was and goes on.</para>
/// </remarks>
#pragma warning disable CA1001 // Neither field holds anything of the system: no timer runs, and no wait handle is asked for.
internal sealed class SessionCompaction : IThreadWork
{
    private static readonly WorkThreads Threads = new("Fleece session log compaction", maximumThreads: 2);

    private readonly SessionLog _log;
    private readonly PointInTimeMaps _maps;
    private readonly CancellationTokenSource _givingUp = new();
    private readonly ManualResetEventSlim _ended = new();

    private SessionCompaction(SessionLog log, PointInTimeMaps maps)
    {
        _log = log;
        _maps = maps;
    }

    /// <summary>Begins one on a thread of its own; null while as many run as may.</summary>
    public static SessionCompaction? TryBegin(SessionLog log, PointInTimeMaps maps)
    {
        SessionCompaction compaction = new(log, maps);
        return Threads.TryBegin(compaction) ? compaction : null;
    }

    /// <summary>Does one on the calling thread, without a flush.</summary>
    /// <exception cref="BlockException">Why it failed; the log is as it was then.</exception>
    public static void Run(SessionLog log, PointInTimeMaps maps) => Run(log, maps, isDurable: false, CancellationToken.None);

    /// <summary>Ends it early, and returns when it has ended.</summary>
    public void GiveUp()
    {
        _givingUp.Cancel();
        _ended.Wait();
    }

    /// <inheritdoc/>
    void IThreadWork.Execute()
    {
        try
        {
            Run(_log, _maps, isDurable: true, _givingUp.Token);
        }
        catch (Exception e) when (e is BlockException or OperationCanceledException)
        {
            // The log says so.
        }
        finally
        {
            _log.EndOf(this);
            _ended.Set();
        }
    }

    private static void Run(SessionLog log, PointInTimeMaps maps, bool isDurable, CancellationToken cancellationToken)
    {
        string partialPath = log.Path + WholeFile.Partial;
        SessionMapsReference old = log.Maps;
        string mapsPath = SessionMapsReference.PathFor(log.Path, old.Number + 1);
        SessionLogFile? next = null;
        try
        {
            next = SessionLogFile.Create(partialPath, log.Head);
            FailPoint.Reach("compaction-made");
            log.Files.Join(next);
            FailPoint.Reach("compaction-joined");
            log.Reached?.Invoke("joined");
            SessionMapsReference reference =
                SessionMapsWriter.Write(mapsPath, log.Description.Id, old.Number + 1, maps, cancellationToken);
            if (isDurable)
            {
                FileNames.FlushClosed(mapsPath);
            }

            FailPoint.Reach("compaction-written");
            log.Reached?.Invoke("written");
            log.Files.Replace(next, reference, isDurable, () => Rename(partialPath, log.Path));
        }
        catch (Exception e)
        {
            log.Files.Leave(e as BlockException);
            next?.Dispose();
            TryDelete(partialPath);
            TryDelete(mapsPath);
            throw;
        }

        FailPoint.Reach("compaction-replaced");
        if (old.Number != 0)
        {
            TryDelete(SessionMapsReference.PathFor(log.Path, old.Number));
        }
    }

    // The folder is not flushed: in this run of the system the name is there, and an orderly end flushes it for the next one.
    private static void Rename(string fromPath, string path)
    {
        FailPoint.Reach("compaction-rename");
        if (OperatingSystem.IsWindows())
        {
            FileNames.Move(fromPath, path, overwrite: true);
        }
        else if (PosixFlush.Rename(fromPath, path) is not 0 and int errno)
        {
            throw FileErrors.FromCode(errno, path, "rename");
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            FileNames.Delete(path);
        }
        catch (BlockException)
        {
            // The next opening of the folder removes it.
        }
    }
}
