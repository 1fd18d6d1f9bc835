// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class FileErrorsTests
{
    private const int Win32 = unchecked((int)0x80070000);

    [Theory]
    [InlineData(Win32 | 2, BlockErrors.NotFound)]
    [InlineData(Win32 | 3, BlockErrors.NotFound)]
    [InlineData(Win32 | 5, BlockErrors.PermissionDenied)]
    [InlineData(Win32 | 19, BlockErrors.ReadOnly)]
    [InlineData(Win32 | 32, BlockErrors.InUse)]
    [InlineData(Win32 | 33, BlockErrors.InUse)]
    [InlineData(Win32 | 39, BlockErrors.NoSpace)]
    [InlineData(Win32 | 112, BlockErrors.NoSpace)]
    [InlineData(Win32 | 1295, BlockErrors.NoSpace)]
    [InlineData(Win32 | 80, BlockErrors.AlreadyExists)]
    [InlineData(Win32 | 183, BlockErrors.AlreadyExists)]
    [InlineData(Win32 | 1117, BlockErrors.IoFailed)]
    [InlineData(1, BlockErrors.PermissionDenied)]
    [InlineData(2, BlockErrors.NotFound)]
    [InlineData(5, BlockErrors.IoFailed)]
    [InlineData(17, BlockErrors.AlreadyExists)]
    [InlineData(20, BlockErrors.NotFound)]
    [InlineData(21, BlockErrors.NotAFile)]
    [InlineData(26, BlockErrors.InUse)]
    [InlineData(27, BlockErrors.NoSpace)]
    [InlineData(28, BlockErrors.NoSpace)]
    [InlineData(30, BlockErrors.ReadOnly)]
    public void Codes_of_the_system_map_to_kinds(int resultCode, string kind) =>
        Assert.Equal(kind, FileErrors.From(new IOException("text", resultCode), "disk.raw", "read").Kind);

    [Fact]
    public void A_full_quota_is_no_space_under_the_number_this_system_gives_it()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has one number for it, which the table above covers.");
        int code = OperatingSystem.IsMacOS() ? 69 : 122;
        Assert.Equal(BlockErrors.NoSpace, FileErrors.FromCode(code, "disk.raw", "write").Kind);
    }

    [Fact]
    public void A_message_says_what_failed_on_which_file_and_where_and_keeps_the_cause()
    {
        IOException cause = new("Input/output error.", 5);

        BlockException exception = FileErrors.From(cause, "/images/disk.raw", "write", 8192);

        Assert.Equal(
            "Cannot write '/images/disk.raw' at offset 8192: the system reports: Input/output error. Check the " +
            "storage and the system's log.",
            exception.Message);
        Assert.Equal("/images/disk.raw", exception.Path);
        Assert.Equal(8192, exception.OffsetBytes);
        Assert.Equal("write", exception.Operation);
        Assert.Same(cause, exception.InnerException);
    }
}
