// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class FileEvidenceTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void One_inode_at_two_times_is_two_files_and_without_a_time_it_is_the_inode()
    {
        Assert.NotEqual(FileEvidence.Identify(12, 1_700_000_000_000_000_000), FileEvidence.Identify(12, 1_700_000_000_000_000_001));
        Assert.NotEqual(FileEvidence.Identify(12, 1_700_000_000_000_000_000), FileEvidence.Identify(13, 1_700_000_000_000_000_000));
        Assert.Equal(12u, FileEvidence.Identify(12, 0));
    }

    [Fact]
    public void A_file_keeps_its_identity_when_it_is_renamed_and_changed()
    {
        string path = _folder.File("vm.raw");
        File.WriteAllText(path, "a");
        ulong identity = FileEvidence.Read(path).FileId;

        File.Move(path, path + ".new");
        File.WriteAllText(path + ".new", "bc");
        File.SetLastWriteTimeUtc(path + ".new", DateTime.UtcNow.AddDays(-1));

        Assert.Equal(identity, FileEvidence.Read(path + ".new").FileId);
    }

    [Fact]
    public void A_file_that_gets_the_inode_of_a_deleted_one_is_another()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() || OperatingSystem.IsMacOS(), "There are no inodes.");
        string path = _folder.File("vm.raw");
        File.WriteAllText(path, "a");
        (ulong inode, ulong birth) = PosixStat.GetOrigin(path);
        ulong identity = FileEvidence.Read(path).FileId;
        Assert.SkipWhen(birth == 0, "This file system keeps no times of birth.");

        for (int tries = 0; tries < 200; tries++)
        {
            File.Delete(path);
            File.WriteAllText(path, "a");
            if (PosixStat.GetOrigin(path).Inode == inode)
            {
                Assert.NotEqual(identity, FileEvidence.Read(path).FileId);
                return;
            }
        }

        Assert.Skip("This file system gives no inode again.");
    }
}
