// SPDX-License-Identifier: MIT
using Fleece.Backups;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Qemu;

namespace Fleece.Tests;

public sealed class ErrorTableTests
{
    private static readonly Type[] Sources =
        [typeof(BlockErrors), typeof(ImageErrors), typeof(NbdErrors), typeof(DiskErrors), typeof(BackupErrors), typeof(HostErrors),
            typeof(QemuErrors), typeof(CmdletErrors)];

    [Fact]
    public void Every_kind_of_every_assembly_has_one_row()
    {
        IEnumerable<string> kinds = Sources.SelectMany(source => source.GetFields()).Select(field => (string)field.GetRawConstantValue()!);

        Assert.Equal(kinds.Order(), ErrorTable.Rows.Select(row => row.Kind).Order());
    }

    [Fact]
    public void No_two_kinds_share_an_error_id() =>
        Assert.Distinct(ErrorTable.Rows.Select(row => row.ErrorId), StringComparer.OrdinalIgnoreCase);

    [Fact]
    public void Error_ids_are_letters_and_begin_with_a_capital() =>
        Assert.All(ErrorTable.Rows, row => Assert.Matches("^[A-Z][A-Za-z]+$", row.ErrorId));
}
