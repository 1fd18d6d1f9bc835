// SPDX-License-Identifier: MIT
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Lives;

/// <summary>A life over several processes: children that are killed, and at last the test itself.</summary>
internal sealed class LifeRig : IAsyncDisposable
{
    private LifeDisks? _disks;

    public TempFolder Folder { get; } = new();

    public LifeTruth Truth { get; } = new();

    /// <summary>The disks of the test's own process.</summary>
    public LifeDisks Disks => _disks ??= new LifeDisks(Folder.Path);

    /// <summary>The folder of the logs.</summary>
    public SessionFolder Sessions => Disks.Sessions;

    /// <summary>The files of the folder that are neither an image nor the empty folder of logs.</summary>
    public IEnumerable<string> Leftovers =>
        Directory.EnumerateFiles(Folder.Path, "*", SearchOption.AllDirectories).Select(file => Path.GetFileName(file))
            .Where(file => file.Contains("fleece", StringComparison.Ordinal) || file.EndsWith(".log", StringComparison.Ordinal) ||
                file.EndsWith(".maps", StringComparison.Ordinal) || file.Contains("vm-a.", StringComparison.Ordinal))
            .Where(file => !file.EndsWith(".fleece-bitmaps", StringComparison.Ordinal) &&
                !file.EndsWith(".fleece-journal", StringComparison.Ordinal));

    /// <summary>Makes the images of the disks.</summary>
    public async Task CreateAsync(params string[] files)
    {
        foreach (string file in files)
        {
            await LifeSteps.CreateAsync(Folder.File(file));
        }
    }

    /// <summary>Lets a child live, and takes what it has done.</summary>
    /// <returns>The step in which it was killed; null for behind the last one.</returns>
    public async Task<string?> LiveAsync(string? killAt, params string[] steps)
    {
        int done = await LifeChild.LiveAsync(Folder.Path, killAt, steps);
        foreach (string step in steps[..done])
        {
            Truth.Do(step);
        }

        return done == steps.Length ? null : steps[done];
    }

    /// <summary>As <see cref="LiveAsync"/> to the last step, in a run of the system whose id a file has.</summary>
    public async Task LiveInOtherBootAsync(string bootIdPath, params string[] steps)
    {
        await LifeChild.LiveInOtherBootAsync(Folder.Path, bootIdPath, steps);
        foreach (string step in steps)
        {
            Truth.Do(step);
        }
    }

    /// <summary>All files are as if nothing had touched them for a minute.</summary>
    public void Age()
    {
        foreach (string file in Directory.EnumerateFiles(Folder.Path))
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddMinutes(-1));
        }
    }

    /// <summary>Does steps in the test's own process.</summary>
    public async Task DoAsync(params string[] steps)
    {
        foreach (string step in steps)
        {
            await Disks.DoAsync(step);
            Truth.Do(step);
        }
    }

    /// <summary>Asserts that all sessions are there and nothing else, and that they and their disk are as they must be.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="isCut">True when the last step may have happened in part.</param>
    public async Task AssertAsync(string disk, bool isCut = false)
    {
        Assert.Empty(Disks[disk].Notes);
        Assert.Equal(
            Truth.Sessions.Where(session => session.Disk == disk).Select(session => session.Session).Order(),
            Disks[disk].Sessions.Select(session => session.Name).Order());
        await Truth.AssertDiskAsync(Disks[disk], isCut);
        foreach (Session session in Disks[disk].Sessions)
        {
            await Truth.AssertSnapshotAsync(session);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_disks is not null)
        {
            await _disks.DisposeAsync();
        }

        Folder.Dispose();
    }
}
