// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.Disks.Tests.Resuming;
using Fleece.TestKit;

namespace Fleece.Fuzz.Sessions;

/// <summary>A folder of sessions that has one log and its maps.</summary>
internal sealed class SessionFiles
{
    private readonly string _logPath;
    private readonly string _mapsPath;

    public SessionFiles()
    {
        TempFolder folder = new();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => folder.Dispose();
        SessionFolder sessions = SessionFolder.Open(folder.File("sessions"));
        _logPath = sessions.LogPathFor(SessionCorpus.Id);
        _mapsPath = SessionMapsReference.PathFor(_logPath, 1);
        SessionMapsWriter.Write(_mapsPath, SessionCorpus.Id, 1, SessionCorpus.Maps(), CancellationToken.None);
        Maps = File.ReadAllBytes(_mapsPath);
    }

    /// <summary>The maps as they were written.</summary>
    public byte[] Maps { get; }

    /// <summary>All that a reader finds; null when the log or its maps are refused.</summary>
    /// <exception cref="FuzzFindingException">There is neither an answer nor a reason.</exception>
    public string? Read(byte[] log, byte[] maps)
    {
        File.WriteAllBytes(_logPath, log);
        File.WriteAllBytes(_mapsPath, maps);
        StoredSession stored = StoredSession.Read(_logPath, SessionCorpus.Id)!;
        (SessionLog Log, PointInTimeMaps Maps)? taken = stored.TakeOver(out string? fault);
        if (taken is null == string.IsNullOrEmpty(fault) || (stored.Fault is not null && taken is not null))
        {
            throw new FuzzFindingException($"There is a session and a fault, or neither: {fault ?? stored.Fault}");
        }

        if (taken is not var (session, found))
        {
            return null;
        }

        using (session)
        {
            return LogRig.Facts(stored, found);
        }
    }
}
